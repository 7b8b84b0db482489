"""Certificates of the machines, with openssl as the judge, and what is said of bad ones."""

from __future__ import annotations

import datetime
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import certificates

HOSTVARS = {
    "kv01": {"ansible_host": "10.20.1.10", "auscat_tls_names": ["keys.hospital.example"]},
    "cv01": {"auscat_address": ["10.20.1.20", "fd00::20"], "ansible_host": ""},
}
NOW = certificates.now()
DAY = datetime.timedelta(days=1)


def openssl(*arguments: str, stdin: str = "") -> str:
    done = subprocess.run(
        ["openssl", *arguments], input=stdin, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def text_of(certificate: str) -> str:
    return openssl("x509", "-noout", "-text", stdin=certificate)


@pytest.fixture
def verified(tmp_path: Path) -> Callable[..., bool]:
    """Whether openssl takes a chain for `name`, when it trusts `trusted`."""

    def verify(chain: str, trusted: str, name: str, purpose: str = "sslserver") -> bool:
        leaf, *between = certificates.PEM.findall(chain)
        for file, content in (("leaf", leaf), ("between", "\n".join(between)), ("ca", trusted)):
            (tmp_path / file).write_text(content + "\n")
        is_address = re.fullmatch(r"[0-9.]+|.*:.*", name)
        told = openssl(
            *("verify", "-x509_strict", "-purpose", purpose, "-no-CApath", "-no-CAstore"),
            *("-CAfile", str(tmp_path / "ca")),
            *(("-untrusted", str(tmp_path / "between")) if between else ()),
            *("-verify_ip" if is_address else "-verify_hostname", name, str(tmp_path / "leaf")),
        )
        return told.strip().endswith(": OK")

    return verify


@pytest.fixture(scope="module")
def authority() -> dict[str, str]:
    return certificates.make_authority()


@pytest.fixture(scope="module")
def machine(authority: dict[str, str]) -> dict[str, str]:
    return certificates.issue(authority, certificates.machine_names("kv01", HOSTVARS))


def as_tls(authority: dict[str, str], machine: dict[str, str], mode: str = "own_ca") -> dict:
    return {"mode": mode, "ca": certificates.trusted(authority), **machine}


def test_names_of_a_machine() -> None:
    assert certificates.machine_names("kv01", HOSTVARS) == [
        *("kv01", "10.20.1.10", "keys.hospital.example", "localhost", "127.0.0.1", "::1"),
        *("orthanc", "ctp", "keydb", "keydb_server"),
    ]
    assert certificates.given_names("cv01", HOSTVARS) == ["cv01", "10.20.1.20", "fd00::20"]


def test_openssl_accepts_it_for_every_name(
    authority: dict[str, str], machine: dict[str, str], verified: Callable[..., bool]
) -> None:
    for name in certificates.machine_names("kv01", HOSTVARS):
        for purpose in ("sslserver", "sslclient"):
            assert verified(machine["certificate"], authority["certificate"], name, purpose), name
    for name in ("cv01", "10.20.1.11", "hospital.example"):
        assert not verified(machine["certificate"], authority["certificate"], name)
    other = certificates.make_authority()
    assert not verified(machine["certificate"], other["certificate"], "kv01")


def test_what_openssl_reads_in_them(authority: dict[str, str], machine: dict[str, str]) -> None:
    leaf, ca = text_of(machine["certificate"]), text_of(authority["certificate"])
    assert "ASN1 OID: prime256v1" in leaf
    assert "ASN1 OID: prime256v1" in ca
    assert "CA:FALSE" in leaf
    assert "CA:TRUE" in ca
    assert "Certificate Sign, CRL Sign" in ca
    assert "ecdsa-with-SHA256" in leaf
    for file, days in ((machine, 398), (authority, 3653)):
        ends = openssl("x509", "-noout", "-enddate", stdin=file["certificate"])
        said = datetime.datetime.strptime(ends.strip(), "notAfter=%b %d %H:%M:%S %Y GMT")
        left = said.replace(tzinfo=datetime.timezone.utc) - NOW
        assert abs(left - days * DAY) < DAY / 10
    public = openssl("x509", "-noout", "-pubkey", stdin=machine["certificate"])
    assert openssl("pkey", "-pubout", stdin=machine["key"]) == public


def test_a_new_ca_overlaps_with_the_old_one(
    authority: dict[str, str], machine: dict[str, str], verified: Callable[..., bool]
) -> None:
    renewed = certificates.renew_authority(authority)
    after = certificates.issue(renewed, ["kv01"])
    old, new, both = authority["certificate"], renewed["certificate"], certificates.trusted(renewed)
    # Who trusts the old CA alone follows the certificate across; who trusts both takes either.
    assert verified(after["certificate"], old, "kv01")
    assert verified(after["certificate"], new, "kv01")
    assert verified(after["certificate"], both, "kv01")
    assert verified(machine["certificate"], both, "kv01")
    assert not verified(machine["certificate"], new, "kv01")
    assert certificates.problems(as_tls(renewed, after), ["kv01"]) == []
    assert not certificates.is_due(after, renewed, ["kv01"])


def test_an_overlap_ends_by_itself(verified: Callable[..., bool]) -> None:
    """The CA before expires, and nobody has said that it is to be forgotten."""
    old = certificates.make_authority(NOW - 3600 * DAY)
    renewed = certificates.renew_authority(old, NOW - 30 * DAY)
    after = certificates.issue(renewed, ["kv01"])
    later = NOW + 100 * DAY
    assert certificates.problems(as_tls(renewed, after), ["kv01"], at=later) == []
    assert certificates.certificates_in(after["certificate"])[1:], "the cross-certificate is there"
    alone = certificates.PEM.findall(after["certificate"])[0]
    assert verified(alone, certificates.trusted(renewed), "kv01")


def test_a_ca_that_has_expired_signs_nothing_and_is_replaced(
    verified: Callable[..., bool],
) -> None:
    expired = certificates.make_authority(NOW - 3660 * DAY)
    machine = certificates.issue(expired, ["kv01"], NOW - 3600 * DAY)
    with pytest.raises(certificates.CertificateError, match=r"expired on .* -e renew=ca makes"):
        certificates.issue(expired, ["kv01"])
    found = certificates.problems(as_tls(expired, machine), ["kv01"])
    assert any("the certificate of the CA holds" in each and "renew=ca" in each for each in found)
    renewed = certificates.renew_authority(expired)
    assert set(renewed) == {"certificate", "key"}
    after = certificates.issue(renewed, ["kv01"])
    assert verified(after["certificate"], certificates.trusted(renewed), "kv01")


def test_a_ca_between_is_no_end_of_a_chain(
    authority: dict[str, str], verified: Callable[..., bool]
) -> None:
    """What the preflight takes openssl has to take: the CA that signs, without its own."""
    renewed = certificates.renew_authority(authority)
    machine = certificates.issue(renewed, ["kv01"])
    leaf = certificates.PEM.findall(machine["certificate"])[0] + "\n"
    root, between = authority["certificate"], renewed["cross"]
    for given, trusted, accepted in (
        (leaf, between, False),
        (leaf + between, between, False),
        (leaf, between + root, True),
        (leaf + between, root, True),
    ):
        assert verified(given, trusted, "kv01") == accepted
        tls = {"mode": "files", "ca": trusted, "key": machine["key"], "certificate": given}
        found = certificates.problems(tls, ["kv01"])
        assert (found == []) == accepted
        assert accepted or "Accepted: the CAs up to the one that has signed itself" in found[0]


def test_another_ca_of_the_hospital_may_have_expired(
    authority: dict[str, str], machine: dict[str, str]
) -> None:
    expired = certificates.make_authority(NOW - 3660 * DAY)
    tls = as_tls(authority, machine, "files")
    both = {**tls, "ca": expired["certificate"] + tls["ca"]}
    assert certificates.problems(both, ["kv01"]) == []


@pytest.mark.parametrize(
    ("days", "names", "is_due"),
    [
        (0, ["kv01"], False),
        (260, ["kv01"], False),
        (268, ["kv01"], True),
        (500, ["kv01"], True),
        (0, ["kv01", "new.hospital.example"], True),
    ],
)
def test_when_a_certificate_is_due(
    authority: dict[str, str], machine: dict[str, str], days: int, names: list[str], is_due: bool
) -> None:
    assert certificates.is_due(machine, authority, names, NOW + days * DAY) == is_due


def test_what_cannot_be_used_is_due(authority: dict[str, str], machine: dict[str, str]) -> None:
    other = certificates.issue(authority, ["kv01"])
    assert certificates.is_due({}, authority, ["kv01"])
    assert certificates.is_due({**machine, "certificate": "x"}, authority, ["kv01"])
    assert certificates.is_due({**machine, "key": other["key"]}, authority, ["kv01"])
    assert certificates.is_due(machine, certificates.make_authority(), ["kv01"])


@pytest.mark.parametrize("name", ["kv 01", "kv01/x", "höhe.example", "*"])
def test_a_name_that_no_certificate_carries_is_refused(
    authority: dict[str, str], name: str
) -> None:
    with pytest.raises(certificates.CertificateError, match="auscat_tls_names"):
        certificates.issue(authority, ["kv01", name])


@pytest.mark.parametrize(
    ("name", "carried", "is_named"),
    [
        ("KV01.hospital.example", ["kv01.hospital.example"], True),
        ("kv01.hospital.example", ["*.hospital.example"], True),
        ("a.kv01.hospital.example", ["*.hospital.example"], False),
        ("hospital.example", ["*.hospital.example"], False),
        ("10.0.0.1", ["10.0.0.2"], False),
        ("FD00:0::20", ["fd00::20"], True),
        ("fd00::20", ["fd00::21"], False),
    ],
)
def test_names_and_wildcards(name: str, carried: list[str], is_named: bool) -> None:
    assert certificates.is_named(name, carried) == is_named


def test_a_sound_one_has_no_problems(authority: dict[str, str], machine: dict[str, str]) -> None:
    assert certificates.problems(as_tls(authority, machine), ["kv01", "ctp"]) == []
    given = ["elsewhere", "kv01"]
    assert certificates.problems(as_tls(authority, machine, "files"), [], given) == []
    assert certificates.problems({"mode": "none"}, ["kv01"]) == []
    # Without auscat_tls_ca clients trust what their machine trusts: nobody here can know.
    assert certificates.problems({**as_tls(authority, machine), "ca": ""}, ["kv01"]) == []


@pytest.fixture
def by_openssl(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """A certificate as openssl makes it, signed by itself."""

    def made(algorithm: list[str], *options: str) -> dict[str, str]:
        key, file = tmp_path / "key", tmp_path / "certificate"
        told = openssl(
            *("req", "-x509", "-nodes", "-newkey", *algorithm, "-subj", "/CN=kv01", *options),
            *("-addext", "subjectAltName=DNS:kv01", "-keyout", str(key), "-out", str(file)),
        )
        assert file.exists(), told
        return {"certificate": file.read_text(), "key": key.read_text()}

    return made


def test_weak_keys_and_hashes_are_refused(
    tmp_path: Path, by_openssl: Callable[..., dict[str, str]]
) -> None:
    short = by_openssl(["rsa:1024"])
    found = certificates.problems({"mode": "files", "ca": "", **short}, [])
    assert len(found) == 1
    assert "an RSA key of 1024 bits. Accepted: 2048 or more" in found[0]
    other = by_openssl(["ed25519"])
    assert (
        "whose key the services do not accept"
        in certificates.problems({"mode": "files", "ca": "", **other}, [])[0]
    )

    ca = by_openssl(["rsa:2048"], "-addext", "keyUsage=critical,keyCertSign")
    for name, content in (("ca.pem", ca["certificate"]), ("ca.key", ca["key"])):
        (tmp_path / name).write_text(content)
    openssl(
        *("req", "-new", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=cv01"),
        *("-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "request")),
    )
    signed = openssl(
        *("x509", "-req", "-sha1", "-in", str(tmp_path / "request"), "-days", "9"),
        *("-CA", str(tmp_path / "ca.pem"), "-CAkey", str(tmp_path / "ca.key"), "-CAcreateserial"),
    )
    (weak,) = certificates.PEM.findall(signed)
    tls = {"mode": "files", "ca": ca["certificate"], "certificate": weak}
    found = certificates.problems({**tls, "key": (tmp_path / "key").read_text()}, [])
    assert any("signed with SHA1. Accepted: SHA-256 or better" in each for each in found)


def test_what_the_preflight_refuses(
    authority: dict[str, str], machine: dict[str, str], tmp_path: Path
) -> None:
    tls = as_tls(authority, machine)
    other, later = certificates.make_authority(), NOW + 399 * DAY
    (tmp_path / "key").write_text(machine["key"])
    encrypted = openssl(
        *("pkey", "-in", str(tmp_path / "key"), "-aes256", "-passout", "pass:synthetic")
    )
    assert "ENCRYPTED" in encrypted
    strange = certificates.issue(other, ["kv01"])
    cases = [
        ({**tls, "key": other["key"]}, ["kv01"], NOW, "belongs to another certificate"),
        ({**tls, "key": encrypted}, ["kv01"], NOW, "a key that is encrypted. Accepted: the key"),
        ({**tls, "key": "x"}, ["kv01"], NOW, "holds no private key in PEM"),
        ({**tls, "certificate": "x"}, ["kv01"], NOW, "holds no certificate in PEM"),
        (tls, ["kv01"], later, "which expired on"),
        (tls, ["kv01"], NOW - 2 * DAY, "Compare the controller's clock"),
        (tls, ["kv02"], NOW, "and not for kv02"),
        ({**tls, "ca": other["certificate"]}, ["kv01"], NOW, "Accepted: a chain up to one"),
        (
            {**tls, "certificate": machine["certificate"] + strange["certificate"]},
            ["kv01"],
            NOW,
            "is a chain in which",
        ),
        (
            {"ca": "", "mode": "files", **authority},
            ["kv01"],
            NOW,
            "and not for kv01",
        ),
    ]
    for given, names, at, expected in cases:
        found = certificates.problems(given, names, at=at)
        assert any(expected in each for each in found), (expected, found)
        assert not any(machine["key"].split("\n")[1] in each for each in found)
    found = certificates.problems({**tls, "mode": "files"}, [], ["another"])
    assert len(found) == 1
    assert "this machine is another" in found[0]
    assert "auscat_tls_names" in found[0]


@pytest.mark.parametrize(
    ("mode", "others", "words"),
    [
        ("own_ca", {}, ""),
        ("files", {"kv01": "files"}, ""),
        (
            "files",
            {"kv01": "own_ca"},
            "auscat_tls is files, and own_ca on kv01. Accepted: the same",
        ),
        ("own_ca", {"cv01": "none"}, "auscat_tls is own_ca, and none on cv01. Accepted: the same"),
    ],
)
def test_two_machines_trust_the_same(mode: str, others: dict[str, str], words: str) -> None:
    found = certificates.mode_problems(mode, others)
    assert len(found) == bool(words)
    assert words in "".join(found)


def test_a_certificate_for_clients_alone_serves_nobody(
    by_openssl: Callable[..., dict[str, str]],
) -> None:
    made = by_openssl(["rsa:2048"], "-addext", "extendedKeyUsage=clientAuth")
    found = certificates.problems({"mode": "files", "ca": "", **made}, [])
    assert len(found) == 1
    assert "serverAuth" in found[0]


# --- Of senders ----------------------------------------------------------------------------------


def from_file(path: str) -> str:
    return Path(path).read_text()


def test_senders_authorities_are_a_text_or_a_file(
    authority: dict[str, str], tmp_path: Path
) -> None:
    pem = authority["certificate"]
    (tmp_path / "pacs-ca.pem").write_text(pem)
    found = certificates.sender_authorities
    assert found("", "none", from_file) == ""
    assert found("", "required", from_file) == ""
    assert found(pem, "accepted", from_file) == pem
    assert found(str(tmp_path / "pacs-ca.pem"), "required", from_file) == pem
    late = certificates.make_authority(NOW - 4000 * DAY)["certificate"]
    assert found(late + pem, "required", from_file) == late + pem, "the one that follows is valid"


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (None, "required", ["pacs-ca.pem'", "cannot be read on the controller", "Ask whoever"]),
        ("CA of the PACS", "required", ["pacs-ca.pem'", "holds no certificate in PEM"]),
        (
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
            "accepted",
            ["pacs-ca.pem'", "cannot be read (", "an empty text where senders show none"],
        ),
        ("KEY", "required", ["pacs-ca.pem'", "holds a private key"]),
        ("LATE", "required", ["pacs-ca.pem'", "expired on", "Accepted: certificates of CAs"]),
        ("CA", "none", ["pacs-ca.pem'", "ctp_dicom_tls is none", "accepted or required"]),
    ],
)
def test_senders_authorities_that_nobody_could_show(
    content: str | None, mode: str, words: list[str], authority: dict[str, str], tmp_path: Path
) -> None:
    made = {
        "KEY": authority["certificate"] + authority["key"],
        "LATE": certificates.make_authority(NOW - 4000 * DAY)["certificate"],
        "CA": authority["certificate"],
    }
    file = tmp_path / "pacs-ca.pem"
    if content is not None:
        file.write_text(made.get(content, content))
    with pytest.raises(certificates.CertificateError) as refused:
        certificates.sender_authorities(str(file), mode, from_file)
    assert str(refused.value).startswith("ctp_dicom_tls_clients is ")
    for word in words:
        assert word in str(refused.value)


def test_a_text_of_senders_authorities_is_not_shown(authority: dict[str, str]) -> None:
    for text in (authority["key"], "MIIBkey\n" * 20):
        with pytest.raises(certificates.CertificateError, match="ctp_dicom_tls_clients is a text"):
            certificates.sender_authorities(text, "required", from_file)
