"""Orthanc takes DICOM from CTP alone, also where the firewall lets the packets of others in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Site
from shared.machines import Machine, Node
from shared.studies import Orthanc, Study

# keyvm may reach Orthanc's port, and has dcmtk for the proof.
LIMITS = ("--timeout", "5", "--acse-timeout", "10", "--dimse-timeout", "10")


def echo(machine: Machine, address: str, calling: str, called: str) -> str:
    """Send a C-ECHO; return an empty text when it was answered, else what echoscu said."""
    result = machine.run(
        *("/usr/bin/echoscu", *LIMITS, "-aet", calling, "-aec", called, address, "4242"),
        check=False,
    )
    return "" if result.returncode == 0 else result.stdout + result.stderr or "failed"


def test_ctp_is_answered(kv: Node, cat: Node) -> None:
    assert echo(kv, cat.address, "CTP", "ORTHANC") == ""


@pytest.mark.parametrize(
    ("calling", "called"), [("STRANGER", "ORTHANC"), ("ORTHANC", "ORTHANC"), ("CTP", "ANY-SCP")]
)
def test_other_ae_titles_are_not_answered(kv: Node, cat: Node, calling: str, called: str) -> None:
    assert "Association Rejected" in echo(kv, cat.address, calling, called)


def test_another_address_is_not_answered(cat: Node) -> None:
    """The right AE title from the machine itself, which the firewall never limits."""
    assert echo(cat, "127.0.0.1", "CTP", "ORTHANC") != ""
    assert echo(cat, cat.address, "CTP", "ORTHANC") != ""


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
    site: Site, study: Study, orthanc: Orthanc, cat: Node, machine: str, calling: str
) -> None:
    before = orthanc.request("/statistics")["CountInstances"]
    sender = site.machine(machine)
    sender.run("rm", "-rf", "/root/refused")
    sender.put(study.directory, "/root/refused")
    result = sender.run(
        *("/usr/bin/storescu", *LIMITS, "-aet", calling, "-aec", "ORTHANC", "--scan-directories"),
        *(cat.address, "4242", "/root/refused"),
        check=False,
    )
    assert result.returncode != 0, result.stdout + result.stderr
    assert orthanc.request("/statistics")["CountInstances"] == before


def test_ctp_itself_may_not_search(kv: Node, cat: Node) -> None:
    result = kv.run(
        *("/usr/bin/findscu", *LIMITS, "-aet", "CTP", "-aec", "ORTHANC", "-S"),
        *("-k", "QueryRetrieveLevel=PATIENT", "-k", "PatientID=*", cat.address, "4242"),
        check=False,
    )
    assert "TRIAL-" not in result.stdout + result.stderr


def test_scripts_are_not_executed(orthanc: Orthanc, cat: Node) -> None:
    url = f"http://{cat.address}:8042/tools/execute-script"
    user = f"{orthanc.user}:{orthanc.password}"
    status = orthanc.client.output(
        *("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}"),
        *("--user", user, "--data", "print(42)", url),
    )
    assert status == "403"


def test_files_are_not_written_over_rest(orthanc: Orthanc, study: Study, cat: Node) -> None:
    instance = orthanc.request("/instances")[0]
    url = f"http://{cat.address}:8042/instances/{instance}/export"
    user = f"{orthanc.user}:{orthanc.password}"
    status = orthanc.client.output(
        *("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}"),
        *("--user", user, "--data", "/var/lib/orthanc/db/out.dcm", url),
    )
    assert status == "403"


def test_logs_name_no_patient(cat: Node, study: Study) -> None:
    log = cat.shell("docker service logs --raw auscat_orthanc 2>&1")
    assert study.patient_id not in log
