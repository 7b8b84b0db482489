"""Machines show certificates: KeyDB, Orthanc and CTP to each other, the gate to the PACS."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest
from conftest import CA_ON_A_CLIENT, psql
from shared.machines import Machine, Node

# dcmtk's clients wait for ever by default.
LIMITS = ("--timeout", "5", "--acse-timeout", "10", "--dimse-timeout", "10")


@pytest.fixture(scope="module")
def other_ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The key and the certificate of a CA that nobody trusts."""
    directory = tmp_path_factory.mktemp("other")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Other"]
        + ["-keyout", directory / "key.pem", "-out", directory / "ca.pem", "-days", "30"],
        check=True,
        capture_output=True,
    )
    return directory


def test_keydb_answers_over_tls(kv: Node, clients: dict[str, Machine]) -> None:
    answer = psql(
        clients["pacs"],
        kv,
        "verify-full",
        "SELECT version FROM pg_stat_ssl WHERE pid=pg_backend_pid()",
    )
    assert answer.stdout.strip() in ("TLSv1.2", "TLSv1.3"), answer.stderr


def test_keydb_refuses_plain_text(kv: Node, clients: dict[str, Machine]) -> None:
    answer = psql(clients["pacs"], kv, "disable", "SELECT 1")
    assert answer.returncode != 0 and "no encryption" in answer.stderr, answer.stderr


def test_keydb_is_not_believed_with_another_ca(
    kv: Node, clients: dict[str, Machine], other_ca: Path
) -> None:
    clients["pacs"].put(other_ca / "ca.pem", "/root/other.pem")
    answer = psql(clients["pacs"], kv, "verify-full", "SELECT 1", "/root/other.pem")
    assert answer.returncode != 0 and "certificate verify failed" in answer.stderr, answer.stderr


def echo(machine: Machine, address: str, port: int, called: str, *arguments: str) -> str:
    """Send a C-ECHO; return an empty text when it was answered, else what echoscu said."""
    result = machine.run(
        *("echoscu", *LIMITS, *arguments, "-aet", "PACS", "-aec", called, address, str(port)),
        check=False,
    )
    return "" if result.returncode == 0 else result.stdout + result.stderr or "failed"


def test_the_gate_answers_the_pacs_over_tls(kv: Node, clients: dict[str, Machine]) -> None:
    assert echo(clients["pacs"], kv.address, 8104, "CTP", "+tla", "+cf", CA_ON_A_CLIENT) == ""


def test_the_gate_does_not_answer_plain_dicom(kv: Node, clients: dict[str, Machine]) -> None:
    """ctp_dicom_tls is required."""
    assert echo(clients["pacs"], kv.address, 8104, "CTP") != ""


def test_orthanc_wants_a_certificate_of_the_site(
    kv: Node, cat: Node, other_ca: Path, ca: Path
) -> None:
    """From CTP's machine, which the firewall lets in: plain, without, with a foreign one."""
    assert echo(kv, cat.address, 4242, "ORTHANC") != ""
    kv.put(ca, "/root/ca.pem")
    for name in ("ca.pem", "key.pem"):
        kv.put(other_ca / name, f"/root/other-{name}")
    anonymous = echo(kv, cat.address, 4242, "ORTHANC", "+tla", "+cf", "/root/ca.pem")
    assert anonymous != ""
    foreign = echo(
        *(kv, cat.address, 4242, "ORTHANC"),
        *("+tls", "/root/other-key.pem", "/root/other-ca.pem", "+cf", "/root/ca.pem"),
    )
    assert foreign != ""


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_no_port_speaks_an_old_version(
    kv: Node, cat: Node, clients: dict[str, Machine], version: ssl.TLSVersion
) -> None:
    """Asked from each port's own machine, which the firewall never limits."""
    program = (
        "import socket, ssl, sys\n"
        "context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
        "context.check_hostname, context.verify_mode = False, ssl.CERT_NONE\n"
        "context.set_ciphers('ALL:@SECLEVEL=0')\n"
        f"context.minimum_version = context.maximum_version = ssl.TLSVersion({int(version)})\n"
        "with socket.create_connection(('127.0.0.1', int(sys.argv[1])), 10) as plain:\n"
        "    try: context.wrap_socket(plain)\n"
        "    except (ssl.SSLError, ConnectionError) as error: print('refused', error)\n"
        "    else: print('spoken')\n"
    )
    for node, port in ((kv, 8104), (kv, 9090), (cat, 8042), (cat, 4242)):
        said = node.output("python3", "-W", "ignore", "-c", program, str(port))
        assert said.startswith("refused"), (node.name, port, said)
