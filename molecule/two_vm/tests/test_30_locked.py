"""Orthanc takes DICOM from CTP alone, also where the firewall lets the packets of others in."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Site
from shared.https import given, url
from shared.machines import Machine, Node
from shared.studies import Orthanc, Study

# keyvm may reach Orthanc's port, and has dcmtk for the proof.
LIMITS = ("--timeout", "5", "--acse-timeout", "10", "--dimse-timeout", "10")


FILES = {
    "tls.key": "/run/secrets/tls.key",
    "tls.crt": "/run/secrets/tls.crt",
    "ca.pem": "/etc/auscat/tls/ca.pem",
}


@pytest.fixture(scope="module")
def tls(kv: Node, cat: Node) -> Iterator[tuple[str, ...]]:
    """dcmtk's options for TLS, with the certificate that each of the two machines shows."""
    for machine, service in ((kv, "ctp_outlet"), (cat, "orthanc")):
        machine.run("install", "-d", "-m", "0700", "/root/tls")
        label = f"label=com.docker.swarm.service.name=auscat_{service}"
        container = machine.output("docker", "ps", "-q", "--filter", label)
        for name, inside in FILES.items():
            machine.run("sh", "-ec", f"docker exec {container} cat {inside} > /root/tls/{name}")
    yield ("+tls", "/root/tls/tls.key", "/root/tls/tls.crt", "+cf", "/root/tls/ca.pem")
    for machine in (kv, cat):
        machine.run("rm", "-rf", "/root/tls")


def echo(
    machine: Machine, address: str, calling: str, called: str, tls: tuple[str, ...] = ()
) -> str:
    """Send a C-ECHO; return an empty text when it was answered, else what echoscu said."""
    result = machine.run(
        *("/usr/bin/echoscu", *LIMITS, *tls, "-aet", calling, "-aec", called, address, "4242"),
        check=False,
    )
    return "" if result.returncode == 0 else result.stdout + result.stderr or "failed"


def test_ctp_is_answered(kv: Node, cat: Node, tls: tuple[str, ...]) -> None:
    assert echo(kv, cat.address, "CTP", "ORTHANC", tls) == ""


def test_clear_text_is_not_answered(kv: Node, cat: Node) -> None:
    """From the right address, under the right AE title."""
    assert echo(kv, cat.address, "CTP", "ORTHANC") != ""


def test_nobody_without_a_certificate_of_the_node_is_answered(kv: Node, cat: Node) -> None:
    made = "openssl req -x509 -nodes -newkey rsa:2048 -subj /CN=kv -days 2"
    kv.run("sh", "-ec", f"{made} -keyout /root/own.key -out /root/own.crt 2>/dev/null")
    trusting = ("+cf", "/root/tls/ca.pem")
    for shown in (("+tla",), ("+tls", "/root/own.key", "/root/own.crt")):
        assert echo(kv, cat.address, "CTP", "ORTHANC", (*shown, *trusting)) != "", shown
    kv.run("rm", "/root/own.key", "/root/own.crt")


def test_the_certificate_names_orthancs_machine(kv: Node, cat: Node) -> None:
    """As openssl reads it; it is for no other machine, and TLS 1.1 is over."""
    ask = f"openssl s_client -connect {cat.address}:4242 -cert /root/tls/tls.crt"
    ask += " -key /root/tls/tls.key -CAfile /root/tls/ca.pem -verify_return_error"
    for more, expected in (
        ("-verify_hostname cat", 0),
        (f"-verify_ip {cat.address}", 0),
        ("-verify_hostname kv", 1),
        ("-tls1_1 -cipher DEFAULT@SECLEVEL=0", 1),
    ):
        done = kv.run("sh", "-c", f"{ask} {more} < /dev/null", check=False)
        assert done.returncode == expected, (more, done.stdout + done.stderr)


@pytest.mark.parametrize(
    ("calling", "called"), [("STRANGER", "ORTHANC"), ("ORTHANC", "ORTHANC"), ("CTP", "ANY-SCP")]
)
def test_other_ae_titles_are_not_answered(
    kv: Node, cat: Node, calling: str, called: str, tls: tuple[str, ...]
) -> None:
    assert "Association Rejected" in echo(kv, cat.address, calling, called, tls)


def test_another_address_is_not_answered(cat: Node, tls: tuple[str, ...]) -> None:
    """The right AE title from the machine itself, which the firewall never limits."""
    assert "Association Rejected" in echo(cat, "127.0.0.1", "CTP", "ORTHANC", tls)
    assert "Association Rejected" in echo(cat, cat.address, "CTP", "ORTHANC", tls)


def test_others_get_no_association(site: Site, cat: Node) -> None:
    """Nothing answers them, which takes the program's whole patience: so all three at once."""
    others = ["pacs", "researcher", "stranger"]
    with ThreadPoolExecutor(len(others)) as pool:
        said = pool.map(
            lambda name: echo(site.machine(name), cat.address, "CTP", "ORTHANC"), others
        )
    for name, text in zip(others, said):
        assert "TCP Initialization Error" in text, name


@pytest.mark.parametrize(
    ("machine", "calling"), [("kv", "STRANGER"), ("kv", "PACS"), ("cat", "CTP")]
)
def test_store_is_refused(
    site: Site,
    study: Study,
    orthanc: Orthanc,
    cat: Node,
    machine: str,
    calling: str,
    tls: tuple[str, ...],
) -> None:
    before = orthanc.request("/statistics")["CountInstances"]
    sender = site.machine(machine)
    sender.run("rm", "-rf", "/root/refused")
    sender.put(study.directory, "/root/refused")
    result = sender.run(
        *("/usr/bin/storescu", *LIMITS, *tls, "-aet", calling, "-aec", "ORTHANC"),
        *("--scan-directories", cat.address, "4242", "/root/refused"),
        check=False,
    )
    assert "Association Rejected" in result.stdout + result.stderr
    assert orthanc.request("/statistics")["CountInstances"] == before


def test_ctp_itself_may_not_search(kv: Node, cat: Node, tls: tuple[str, ...]) -> None:
    result = kv.run(
        *("/usr/bin/findscu", *LIMITS, *tls, "-aet", "CTP", "-aec", "ORTHANC", "-S"),
        *("-k", "QueryRetrieveLevel=PATIENT", "-k", "PatientID=*", cat.address, "4242"),
        check=False,
    )
    assert "TRIAL-" not in result.stdout + result.stderr


def test_scripts_are_not_executed(orthanc: Orthanc, cat: Node) -> None:
    asked = f"{url(cat, 8042)}/tools/execute-script"
    user = f"{orthanc.user}:{orthanc.password}"
    status = orthanc.client.output(
        *("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}"),
        *("--cacert", given(cat, orthanc.client), "--user", user, "--data", "print(42)", asked),
    )
    assert status == "403"


def test_files_are_not_written_over_rest(orthanc: Orthanc, study: Study, cat: Node) -> None:
    instance = orthanc.request("/instances")[0]
    asked = f"{url(cat, 8042)}/instances/{instance}/export"
    user = f"{orthanc.user}:{orthanc.password}"
    status = orthanc.client.output(
        *("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}"),
        *("--cacert", given(cat, orthanc.client), "--user", user),
        *("--data", "/var/lib/orthanc/db/out.dcm", asked),
    )
    assert status == "403"


def test_logs_name_no_patient(cat: Node, study: Study) -> None:
    log = cat.shell("docker service logs --raw auscat_orthanc 2>&1")
    assert study.patient_id not in log
