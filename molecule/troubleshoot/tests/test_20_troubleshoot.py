"""Each fault is caused for real, and found by name; and looking for it changes nothing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import Send, empty_quarantine
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from shared.ctp_node import new_patient, status
from shared.machines import Machine, Node, Outcome, Scenario, wait_for
from shared.streams import Rest

Look = Callable[..., str]
KEYDB = (
    "docker exec --interactive $(docker ps -qf name=auscat_keydb) sh -c"
    " 'psql -qtA -d key_db -U $(cat /run/secrets/keydb_user)'"
)


def diagnosis(outcome: Outcome) -> str:
    """What the operator reads at the end."""
    assert outcome.returncode in (0, 2), outcome.errors
    (text,) = [r["msg"] for name, r in outcome.results if name.endswith(": Show the diagnosis")]
    found = "Diagnosis: nothing wrong found." not in str(text)
    assert outcome.returncode == (2 if found else 0), "the exit code tells whether it found something"
    return str(text)


@pytest.fixture
def look(scenario: Scenario, tmp_path: Path) -> Look:
    """Run the command, and return its diagnosis alone."""

    def troubleshoot(*arguments: str, **extra: Any) -> str:
        # Only what this test did: an earlier one's refusals are not its business.
        extra = {"troubleshoot_since": "45s", "troubleshoot_phantom": False, **extra}
        extra["troubleshoot_bundle_directory"] = str(tmp_path)
        outcome = scenario.play("playbooks/troubleshoot.yml", *arguments, extra=extra)
        text = diagnosis(outcome)
        assert outcome.changed == 0, outcome.changed_tasks
        print(text)
        return " ".join(text[text.index("Diagnosis") :].split())

    return troubleshoot


@contextlib.contextmanager
def scaled(node: Node, service: str) -> Iterator[None]:
    """Stop a service as somebody does by hand; start it again."""
    scale = ("docker", "service", "scale", "--detach")
    services = len(node.services())
    node.run(*scale, f"auscat_{service}=0")
    wait_for(f"{service} has stopped", lambda: not node.tasks(f"auscat_{service}"), 120)
    try:
        yield
    finally:
        node.run(*scale, f"auscat_{service}=1")
        node.wait_until_healthy(services, 240)


def test_a_healthy_node_is_found_healthy_and_stays_as_it_is(
    scenario: Scenario, node: Node, ctp: Rest, orthanc: Rest, tmp_path: Path
) -> None:
    empty_quarantine(scenario, ctp)
    before = node.fingerprint(), orthanc.ask("/statistics"), status(ctp)["received"]
    extra = {"troubleshoot_bundle_directory": str(tmp_path), "troubleshoot_since": "45s"}
    outcome = scenario.play("playbooks/troubleshoot.yml", extra=extra)
    text = diagnosis(outcome)
    print(text)
    assert outcome.changed == 0
    assert "Diagnosis: nothing wrong found. What was checked is listed above." in text
    assert "could not be checked" not in text
    # The phantom went in and out: Orthanc's own count of what ever came tells that it was there.
    assert "Orthanc alone takes a phantom, finds it, and it is removed" in text
    assert (node.fingerprint(), orthanc.ask("/statistics"), status(ctp)["received"]) == before


def test_ctp_was_stopped(node: Node, look: Look) -> None:
    with scaled(node, "ctp"):
        text = look()
    assert "1. CTP was stopped on node: its service is scaled to 0." in text
    assert "docker service scale auscat_ctp=1" in text


def test_orthanc_was_stopped(node: Node, look: Look) -> None:
    with scaled(node, "orthanc"):
        # A phantom could not be removed from it again, so none is sent.
        text = look(troubleshoot_phantom=True)
    assert "1. Orthanc was stopped on node: its service is scaled to 0." in text
    assert "2." not in text, "what follows from it is no fault of its own"


def test_a_sender_calls_ctp_by_another_name(send: Send, look: Look, pacs: Machine) -> None:
    assert send([new_patient()], called="WRONG") != 0
    text = look()
    assert f"1. CTP on node has refused the sender {pacs.address} " in text
    assert "it calls CTP by an AE title that CTP does not have. Accepted: CTP." in text
    assert "WRONG" not in text, "what a sender calls could be anything"


def test_a_patient_is_unknown(scenario: Scenario, send: Send, look: Look, ctp: Rest) -> None:
    empty_quarantine(scenario, ctp)
    patient = new_patient()
    assert send([patient]) == 0
    wait_for("it is held back", lambda: status(ctp)["quarantine"])
    text = look()
    assert (
        "CTP on node holds 1 object back in quarantine: KeyDB does not know their patients." in text
    )
    assert "load_keys.yml -e keys_file=… -e release=true" in text
    assert patient.patient_id not in text
    empty_quarantine(scenario, ctp)


def test_orthanc_accepts_another_ae_title(orthanc: Rest, look: Look) -> None:
    """Orthanc's list of modalities, as its REST API changes it until the next start."""
    modalities = orthanc.ask("/modalities?expand")
    (name,) = modalities

    def put(aet: str) -> None:
        with contextlib.suppress(json.JSONDecodeError):  # it answers with nothing
            orthanc.ask(f"/modalities/{name}", {**modalities[name], "AET": aet}, "PUT")

    try:
        put("OTHER")
        text = look(troubleshoot_phantom=True)
    finally:
        put(modalities[name]["AET"])
    assert "1. Orthanc refuses CTP: it does not know the AE title CTP under which CTP comes" in text
    assert "2. Orthanc on node does not take a phantom that is sent to it without CTP" in text


def test_a_foreign_rule_blocks_a_port(node: Node, orthanc: Rest, look: Look) -> None:
    node.shell(
        "nft add table inet hospital;"
        "nft add chain inet hospital gateway '{ type filter hook forward priority -20; }';"
        "nft add rule inet hospital gateway tcp dport 8042 counter drop"
    )
    try:
        text = look()
    finally:
        packets = node.output("nft", "list", "table", "inet", "hospital")
        node.run("nft", "delete", "table", "inet", "hospital")
    assert "packets 0 " not in packets, "the rule did stop the connection from here"
    assert (
        "1. A firewall rule on node that is not of this project drops what the operator"
        " (10.213.90.1) sends to port 8042: table inet hospital, chain gateway, handle 2:"
        " tcp dport 8042 drop." in text
    )
    assert orthanc.ask("/system")


def test_a_sender_that_is_not_declared(
    node: Node, stranger: Machine, pacs: Machine, look: Look
) -> None:
    assert not stranger.connects(node.address, 8104)
    text = look(troubleshoot_sender="stranger")
    assert (
        f"1. The firewall of node does not let the sender ({stranger.address}) in to port 8104: the"
        " address is not in the set tcp_8104_ipv4 of the table inet auscat." in text
    )
    assert "add it to ctp_dicom_sources" in text
    assert "firewall" not in look(troubleshoot_sender="pacs")


def test_the_operator_is_shut_out_of_8042(node: Node, look: Look) -> None:
    element = ("element", "inet", "auscat", "tcp_8042_ipv4", "{ 10.213.90.1 }")
    node.run("nft", "delete", *element)
    try:
        text = look()
    finally:
        node.run("nft", "add", *element)
    assert (
        "The firewall of node does not let the operator (10.213.90.1) in to port 8042: the address"
        " is not in the set tcp_8042_ipv4" in text
    )


def test_the_disk_is_full(node: Node, ctp: Rest, look: Look) -> None:
    """The small file system of CTP's data, filled up to 30 MiB."""
    filler = "/srv/auscat/ctp/temp/filler"
    free = int(node.output("df", "--output=avail", "--block-size=1M", filler.rpartition("/")[0])
               .split()[-1])  # fmt: skip
    node.run("fallocate", "--length", f"{free - 30}M", filler)
    try:
        wait_for("CTP has closed its reception", lambda: status(ctp)["reception"] != "open")
        text = look()
    finally:
        node.run("rm", filler)
        wait_for("CTP takes studies again", lambda: status(ctp)["reception"] == "open")
    assert "1. The disk of CTP's data on node is full: /srv/auscat/ctp/temp has " in text
    assert "CTP on node has closed its reception: only " in text


def test_keydb_has_another_password(node: Node, look: Look) -> None:
    query = "SELECT rolpassword FROM pg_authid WHERE rolname = 'ctp_key_db_select';"
    verifier = node.shell(KEYDB, stdin=query)
    assert verifier.startswith("SCRAM-SHA-256$")
    node.shell(KEYDB, stdin="ALTER ROLE ctp_key_db_select PASSWORD 'changed-by-hand';")
    try:
        text = look()
    finally:
        node.shell(KEYDB, stdin=f"ALTER ROLE ctp_key_db_select PASSWORD '{verifier}';")
    assert (
        "1. KeyDB on node has another password for CTP's role ctp_key_db_select than the inventory"
        " (keydb_ctp_password), so it refuses CTP." in text
    )


def test_the_inventory_has_another_password_than_what_runs(look: Look) -> None:
    text = look(orthanc_registered_users={"admin": "not-yet-deployed-3f1b8a"})
    assert (
        "What runs on node was given other secrets than the inventory has now: orthanc.json."
        in text
    )
    assert "Orthanc on node refuses the first user of orthanc_registered_users" in text
    assert "not-yet-deployed" not in text


def test_the_clock_has_jumped(node: Node, look: Look, tmp_path: Path) -> None:
    """Time is shared with the machine that runs the tests, so it is another one for Ansible's
    Python on the node alone: a double of the clock, and of nothing else."""
    node.shell(
        "mkdir -p /opt/clock; cd /opt/clock;"
        "printf 'import time\\nnow = time.time\\ntime.time = lambda: now() + 10800\\n'"
        " > sitecustomize.py;"
        "printf '#!/bin/sh\\nPYTHONPATH=/opt/clock exec /usr/bin/python3 \"$@\"\\n' > python;"
        "chmod +x python"
    )
    inventory = tmp_path / "clock.yml"
    hosts = {"all": {"hosts": {"node": {"ansible_python_interpreter": "/opt/clock/python"}}}}
    inventory.write_text(json.dumps(hosts))
    try:
        text = look("--inventory", str(inventory))
    finally:
        node.run("rm", "-r", "/opt/clock")
    assert "1. The clock of node is 3 hours ahead of that of this machine." in text


def test_a_certificate_has_expired(node: Node, look: Look) -> None:
    """One of the hospital's own, as auscat_ca_certificates puts it there."""
    path = "/usr/local/share/ca-certificates/expired.crt"
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "expired")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1))
        .not_valid_after(datetime(2020, 1, 2))
        .sign(key, hashes.SHA256())
    )
    node.run("tee", path, stdin=made.public_bytes(Encoding.PEM).decode())
    try:
        text = look()
    finally:
        node.run("rm", path)
    assert f"The certificate {path} on node expired on 2020-01-02." in text


def test_the_machine_is_away(look: Look, tmp_path: Path) -> None:
    inventory = tmp_path / "away.yml"
    hosts = {"all": {"hosts": {"node": {"ansible_host": "auscat-test-troubleshoot-nowhere"}}}}
    inventory.write_text(json.dumps(hosts))
    text = look("--inventory", str(inventory))
    assert (
        "1. The machine node cannot be reached from here; nothing on it could be checked." in text
    )


def test_a_machine_that_answers_and_cannot_be_looked_at_is_not_called_away(
    node: Node, look: Look
) -> None:
    (python,) = node.output("realpath", "/usr/bin/python3").split()
    node.run("mv", python, f"{python}.away")
    try:
        text = look()
    finally:
        node.run("mv", f"{python}.away", python)
    assert (
        "1. The machine node can be reached, but what looks at it finds no Python there; nothing on"
        " it could be checked." in text
    )
    assert "cannot be reached" not in text


def test_nothing_but_looked_at_what_was_never_deployed(look: Look) -> None:
    """Another stack's name: none of its services is there."""
    text = look(auscat_stack_name="elsewhere")
    for service in ("CTP", "KeyDB", "Orthanc"):
        assert f"{service} is not deployed on node." in text


def test_the_engine_is_down(node: Node, look: Look) -> None:
    services = len(node.services())
    # Its socket goes on listening: systemd would start the engine for whoever asked it.
    node.run("systemctl", "stop", "docker.service")
    assert node.run("systemctl", "is-active", "docker.socket").stdout.strip() == "active"
    try:
        text = look()
        state = node.run("systemctl", "is-active", "docker.service", check=False).stdout.strip()
        assert state == "inactive", "looking has started it"
    finally:
        node.run("systemctl", "start", "docker")
        node.wait_until_healthy(services, 240)
    assert "1. The Docker engine on node does not run, so none of the services does." in text
    assert "2." not in text
