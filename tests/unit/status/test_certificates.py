from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import certificates


@pytest.mark.parametrize("days", [1, 30, 10000, 20000])
@pytest.mark.parametrize("key", ["rsa:2048", "ec"])
def test_end_of_a_certificate(tmp_path: Path, days: int, key: str) -> None:
    """As openssl says it; from 2050 on the date has another type."""
    file = tmp_path / "certificate.pem"
    options = ["-newkey", key]
    options += ["-pkeyopt", "ec_paramgen_curve:P-256"] if key == "ec" else []
    subprocess.run(
        ["openssl", "req", "-x509", *options, "-nodes", "-keyout", str(tmp_path / "key.pem")]
        + ["-out", str(file), "-days", str(days), "-subj", "/O=A hospital/CN=its CA"],
        check=True,
        capture_output=True,
    )
    said = subprocess.run(
        ["openssl", "x509", "-in", str(file), "-noout", "-enddate"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    expected = datetime.datetime.strptime(said, "notAfter=%b %d %H:%M:%S %Y GMT")
    expected = expected.replace(tzinfo=datetime.timezone.utc)
    assert certificates.not_after("# a comment\n" + file.read_text()) == expected.timestamp()


@pytest.mark.parametrize(
    "text",
    ["", "no", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
    + ["-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"],
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(certificates.CertificateError):
        certificates.not_after(text)
