"""Settings: a wrong one is named with its value and what it may be."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pytest
from ctp_standin import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, settings
from ctp_standin.__main__ import main
from ctp_standin.settings import Settings
from program_settings import SettingsError
from pydicom.uid import UID


def test_defaults_are_those_of_the_auscat_image() -> None:
    found = Settings.from_environment({})
    assert found == Settings()
    assert (found.orthanc_host, found.orthanc_port, found.dicom_port) == ("orthanc", 4242, 8104)


def test_the_table_in_the_documentation_is_complete() -> None:
    documented = set(re.findall(r"^``([A-Z_]+)``", settings.__doc__ or "", re.MULTILINE))
    source = Path(settings.__file__).read_text(encoding="utf-8")
    assert documented == set(re.findall(r'\(environment, "([A-Z_]+)"', source))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ORTHANC_PORT", "65536", 'ORTHANC_PORT is "65536": give a whole number from 1 to 65535'),
        ("ORTHANC_PORT", "dicom", 'ORTHANC_PORT is "dicom"'),
        ("ORTHANC_HOSTNAME", " ", 'ORTHANC_HOSTNAME is ""'),
        ("CTP_AET", "A_TITLE_THAT_IS_TOO_LONG", "1 to 16 printable ASCII"),
        ("CTP_MIN_FREE_MIB", "-1", "from 0 to 1048576"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        Settings.from_environment({name: value})


def test_a_missing_secret_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CTP_SECRETS_DIRECTORY", str(tmp_path))
    assert main([]) == 2
    assert f"The secret file {tmp_path}/keydb_user cannot be read" in capsys.readouterr().err
    (tmp_path / "keydb_user").write_text("\n")
    assert main([]) == 2
    assert "keydb_user is empty" in capsys.readouterr().err


def test_the_tests_run_what_the_image_gets() -> None:
    wheels = Path(settings.__file__).parents[2] / "wheels.txt"
    pins = re.findall(r"^([\w-]+)==([\d.]+)", wheels.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(pins) == 2
    assert [(name, version(name)) for name, _ in pins] == pins


def test_it_names_itself_within_the_limits_of_dicom() -> None:
    assert re.fullmatch(r"CTPSTANDIN_\d\d", IMPLEMENTATION_VERSION_NAME)
    assert len(IMPLEMENTATION_VERSION_NAME) <= 16
    assert UID(IMPLEMENTATION_CLASS_UID).is_valid
