"""Neighbours that cannot be reached: an error that means "later", and tells no identifier."""

from __future__ import annotations

from pathlib import Path

import pytest
from ctp_standin.export import Exporter, ExportUnavailableError
from ctp_standin.lookup import KeyDBLookup, LookupUnavailableError
from ctp_standin_study import encode, read, study
from ports import free_port


def test_no_keydb(tmp_path: Path) -> None:
    lookup = KeyDBLookup("127.0.0.1", free_port(), "key_db", tmp_path)
    with pytest.raises(LookupUnavailableError, match="SettingsError"):
        lookup.pseudonym("PROOF-1947", "")
    # The secrets are read again at every attempt.
    (tmp_path / "keydb_user").write_text("user")
    (tmp_path / "keydb_pass").write_text("pass")
    with pytest.raises(LookupUnavailableError, match=r"^OperationalError$"):
        lookup.pseudonym("PROOF-1947", "")


@pytest.mark.parametrize("host", ["127.0.0.1", "orthanc.invalid"])
def test_no_orthanc(host: str) -> None:
    exporter = Exporter(host, free_port(), called_aet="ORTHANC", calling_aet="CTP")
    with pytest.raises(ExportUnavailableError):
        exporter.store(read(encode(study(marked=False).slices[0])))
