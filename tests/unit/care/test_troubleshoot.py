"""From what was seen to the diagnosis."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.care.diagnosis import (
    FAILED,
    OK,
    UNKNOWN,
)
from ansible_collections.auscat.imaging.plugins.module_utils.care.machine_steps import (
    failure_kind,
)
from ansible_collections.auscat.imaging.plugins.module_utils.care.support_bundle import (
    bundle,
    shareable,
)
from ansible_collections.auscat.imaging.plugins.module_utils.care.troubleshoot import (
    diagnose,
    findings,
    report,
)

MIB = 2**20
NOW = 1_800_000_000.0
SERVICES = ("ctp", "keydb", "orthanc")
HEALTHY: dict[str, Any] = {
    "host": "node",
    "reached": True,
    "here": list(SERVICES),
    "controller": NOW,
    "minimum_free_mib": 1024,
    "time": NOW + 3,
    "clock": {"source": "systemd", "synchronised": True, "offset_seconds": None, "kept": True},
    "engine": "28.5.2",
    "engine_installed": True,
    "disks": [
        {"service": "ctp", "path": "/srv/c", "exists": True, "mount": "/srv", "size": 9999 * MIB,
         "free": 9000 * MIB, "inodes": 0, "inodes_free": 0}
    ],
    "certificates": [
        {"name": "Swarm", "path": "/x/swarm-node.crt", "not_after": NOW + 90 * 86400}
    ],
    "held_certificates": [{"name": "front", "path": "", "not_after": NOW + 90 * 86400}],
    "services": {
        name: {"deployed": True, "replicas": 1, "running": 1, "health": "healthy", "error": "",
               "failures": [NOW - 901], "memory_kills": [NOW - 901], "memory_limit_mib": 1280}
        for name in SERVICES
    },
    "secrets": [{"service": "ctp", "secret": "keydb_ctp_pass", "same": True}],
    "firewall": {"wanted": True, "loaded": True, "blocks": [], "dropped": {"8042": 0}, "ufw": [],
                 "firewalld": []},
    "refusals": [],
    "titles": {"called": ["CTP"], "calling": ["PACS"]},
    "target": {"hostname": "orthanc", "port": 4242, "called": "ORTHANC", "calling": "CTP"},
    "ctp": {
        "answers": True, "told": True, "login": True, "reception_open": True,
        "short_of_space": False, "frozen": False, "waits_for_orthanc": False,
        "received": 5, "forwarded": 5, "queued": 0, "oldest_seconds": None, "free_mib": 9000,
        "quarantined": 0, "quarantine": {},
    },
    "keydb": {"answers": True, "login": True, "told": True, "role": True, "password": True,
              "patients": 7},
    "echo": {"asked": True, "ok": True},
    "orthanc": {"answers": True, "login": True, "told": True, "studies": 1, "instances": 5},
    "phantom": [{"check": "Orthanc takes the phantom", "passed": True}],
    "reach": [
        {"port": 8042, "service": "orthanc", "purpose": "Web page", "from": "10.1.1.1",
         "own": False, "meant": True, "state": "open"}
    ],
}  # fmt: skip
BLOCK = {
    "port": 8042, "address": "10.1.1.1", "who": "the operator", "variable": "orthanc_web_sources",
    "where": "table inet site, chain base, handle 4", "rule": "tcp dport 8042 drop", "sets": [],
    "ours": False, "certain": True,
}  # fmt: skip


def seen(**changes: Any) -> dict[str, Any]:
    """A healthy node, but for what is changed: ``echo__ok=False`` reaches into a part."""
    found = copy.deepcopy(HEALTHY)
    for path, value in changes.items():
        place = found
        *parts, last = path.split("__")
        for part in parts:
            place = place[int(part)] if isinstance(place, list) else place[part]
        place[int(last) if isinstance(place, list) else last] = value
    return found


def first(**changes: Any) -> str:
    found = diagnose([seen(**changes)]).findings
    return found[0].text if found else ""


def test_a_healthy_node() -> None:
    result = diagnose([HEALTHY])
    assert not result.findings
    assert {step.state for step in result.steps} == {"ok"}
    assert "nothing wrong found. What was checked is listed above." in report([HEALTHY])
    assert findings([HEALTHY]) == []


STOPPED = {"deployed": True, "replicas": 0, "running": 0, "health": "none", "error": ""}
DEAD = {
    "deployed": True,
    "replicas": 1,
    "running": 0,
    "health": "none",
    "error": "the disk is full",
}
REFUSED = {"peer": "10.1.2.3", "count": 4, "last": "2026-11-24T18:40:27"}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"reached": False}, "The machine node cannot be reached from here"),
        ({"reached": False, "answers": True, "failure": "no Python"},
         "The machine node can be reached, but what looks at it finds no Python there; nothing"),
        ({"reached": False, "answers": True, "failure": "disk full"},
         "The machine node can be reached, but what looks at it finds no space there; nothing"),
        ({"reached": False, "answers": True, "failure": ""},
         "The machine node can be reached, but what looks at it ended with an error; nothing on"),
        ({"nameless": {"cat": "The host cat of the inventory has the address 'cat.lan'"}},
         "The host cat of the inventory has the address 'cat.lan'"),
        ({"engine": ""}, "The Docker engine on node does not run"),
        ({"swarm_locked": True, "services": None}, "The Swarm on node is locked"),
        ({"engine": "", "engine_installed": False}, "Docker is not installed on node"),
        ({"services__ctp": STOPPED}, "CTP was stopped on node: its service is scaled to 0."),
        ({"services__orthanc": STOPPED}, "Orthanc was stopped on node"),
        ({"services__keydb": DEAD}, "KeyDB does not run on node (the disk is full)."),
        ({"services__ctp": {"deployed": False}}, "CTP is not deployed on node."),
        ({"services__ctp__health": "unhealthy"}, "CTP on node runs, but is unhealthy."),
        ({"services__keydb__failures": [NOW - 800, NOW - 90, NOW]},
         "KeyDB on node ends again and again: 3 times"),
        ({"services__orthanc__failures": [NOW] * 4, "services__orthanc__memory_kills": [NOW] * 4},
         "Orthanc on node was killed for memory 4 times in the last 15 minutes, its limit is 1280"),
        ({"services__ctp_gate": {**HEALTHY["services"]["ctp"], "memory_kills": [NOW]}},
         "The gate in front of CTP on node was killed for memory once"),
        ({"ctp__quarantine": {"refused-by-orthanc": 1},
          "ctp__held_back": ["Orthanc ended, 3 times; 600 MiB, SOP class 1.2.840"]},
         "CTP on node holds an object back: Orthanc ended, 3 times; 600 MiB, SOP class 1.2.840."),
        ({"disks__0__free": 900 * MIB},
         "The disk of CTP's data on node is full: /srv/c has 900 MiB"),
        ({"disks__0__inodes": 9999, "disks__0__inodes_free": 5},
         "The disk of CTP's data on node is full: /srv/c has inodes"),
        ({"disks__0__service": "ctp_gate", "disks__0__free": 0},
         "The disk of the gate in front of CTP on node is full: /srv/c has 0 MiB"),
        ({"time": NOW + 7300}, "The clock of node is 2 hours ahead of that of this machine."),
        ({"time": NOW - 90}, "The clock of node is 90 seconds behind that of this machine."),
        ({"certificates__0__not_after": NOW - 86400},
         "The certificate /x/swarm-node.crt on node expired on 2027-01-14."),
        ({"held_certificates__0__not_after": NOW - 86400},
         "The certificate of the service front on node expired on 2027-01-14."),
        ({"secrets__0__same": False},
         "What runs on node was given other secrets than the inventory has now: keydb_ctp_pass."),
        ({"keydb__password": False}, "KeyDB on node has another password for CTP's role"),
        ({"keydb__role": False}, "KeyDB on node has no role ctp_key_db_select that may log in"),
        ({"keydb__answers": False}, "KeyDB on node runs, but does not answer."),
        ({"keydb__told": False},
         "KeyDB on node answers, but its table of patients (keydb_table) is missing"),
        ({"orthanc__login": False}, "Orthanc on node refuses the first user"),
        ({"orthanc__answers": False}, "Orthanc runs on node, but its REST API does not answer"),
        ({"ctp__login": False}, "CTP's page on node refuses the inventory's password"),
        ({"ctp__reception_open": False, "ctp__short_of_space": True},
         "CTP on node has closed its reception: only 9000 MiB are left"),
        ({"ctp__reception_open": False},
         "CTP on node has closed its reception; its page and log say why."),
        ({"refusals": [{**REFUSED, "why": "called AE title not recognized"}]},
         "CTP on node has refused the sender 10.1.2.3 4 times, last at 18:40 UTC: it calls CTP"
         " by an"
         " AE title that CTP does not have. Accepted: CTP."),
        ({"refusals": [{**REFUSED, "why": "calling AE title not recognized"}]},
         "CTP on node has refused the sender 10.1.2.3 4 times, last at 18:40 UTC: it calls"
         " itself by"
         " an AE title that CTP does not accept. Accepted: PACS."),
        ({"ctp__queued": 3, "ctp__oldest_seconds": 7300},
         "3 objects wait in CTP's queues on node, the oldest for 2 hours."),
        ({"ctp__quarantine": {"unknown-patient": 9}},
         "CTP on node holds 9 objects back in quarantine: KeyDB does not know their patients."),
        ({"ctp__quarantine": {"known-patient": 9}},
         "CTP on node holds 9 objects back in quarantine: their patients were loaded or the rules"
         " changed"),
        ({"ctp__quarantine": {"burned-in-annotation": 2}},
         "CTP on node holds 2 objects back in quarantine: they declare text, (0028,0301),"
         " or a face, (0028,0302), in their pixels, so that no release gets them further."),
        ({"ctp__quarantine": {"sop-class-not-accepted": 2}},
         "CTP on node holds 2 objects back in quarantine: nothing can de-identify their SOP class"),
        ({"ctp__quarantine": {"refused-by-profile": 2}},
         "CTP on node holds 2 objects back in quarantine: CTP's script refuses an element"),
        ({"ctp__quarantine": {"unreadable": 9}},
         "CTP on node holds 9 objects back in quarantine: reason unreadable."),
        ({"echo": {"asked": True, "ok": False, "why": "name"}},
         "CTP on node does not find Orthanc: its name orthanc has no address"),
        ({"echo": {"asked": True, "ok": False, "why": "port"}},
         "CTP on node finds the machine of Orthanc, but nobody answers at orthanc:4242."),
        ({"echo": {"asked": True, "ok": False, "why": "silent"}},
         "CTP on node gets no answer from Orthanc at orthanc:4242."),
        ({"echo": {"asked": True, "ok": False, "why": "called"}},
         "Orthanc refuses CTP: CTP calls it ORTHANC, and that is not its AE title."),
        ({"echo": {"asked": True, "ok": False, "why": "calling"}},
         "Orthanc refuses CTP: it does not know the AE title CTP"),
        ({"echo": {"asked": True, "ok": False, "why": "other"}},
         "CTP on node cannot reach Orthanc at orthanc:4242."),
        ({"phantom__0__passed": False},
         "Orthanc on node does not take a phantom that is sent to it without CTP"),
        ({"firewall__blocks": [BLOCK]},
         "A firewall rule on node that is not of this project drops what the operator (10.1.1.1)"
         " sends to port 8042: table inet site, chain base, handle 4: tcp dport 8042 drop."),
        ({"firewall__blocks": [{**BLOCK, "ours": True, "sets": ["tcp_8042_ipv4"]}]},
         "The firewall of node does not let the operator (10.1.1.1) in to port 8042: the address is"
         " not in the set tcp_8042_ipv4 of the table inet auscat."),
        ({"firewall__loaded": False}, "The table inet auscat is missing on node"),
        ({"firewall__ufw": [8042]}, "ufw is active on node and lacks the rules for port 8042."),
        ({"firewall__firewalld": [8042]}, "firewalld is active on node and lacks the rules"),
        ({"reach__0__state": "no answer"},
         "Port 8042 of node (Web page) cannot be reached from here (10.1.1.1): no answer."),
    ],
)  # fmt: skip
def test_each_fault_has_its_sentence(changes: dict[str, Any], text: str) -> None:
    result = diagnose([seen(**changes)])
    assert result.findings[0].text.startswith(text), result.findings
    assert result.findings[0].remedy
    assert FAILED in {step.state for step in result.steps}
    assert findings([seen(**changes)])[0] == result.findings[0].text


@pytest.mark.parametrize(
    ("changes", "texts"),
    [
        # The cause comes first, and what follows from it is not told as a fault of its own.
        ({"services__orthanc": STOPPED, "echo": {"asked": True, "ok": False, "why": "name"},
          "orthanc": {"answers": False}, "ctp__waits_for_orthanc": True, "ctp__queued": 3,
          "phantom": []}, ["Orthanc was stopped"]),
        ({"echo": {"asked": True, "ok": False, "why": "calling"}, "phantom__0__passed": False,
          "ctp__quarantine": {"refused-by-orthanc": 2}},
         ["Orthanc refuses CTP", "Orthanc on node does not take", "CTP on node holds 2 objects"]),
        ({"keydb__password": False, "ctp__quarantine": {"unknown-patient": 1}},
         ["KeyDB on node has another password", "CTP on node holds 1 object"]),
        # A rule on the machine explains a closed port.
        ({"firewall__blocks": [BLOCK], "reach__0__state": "no answer"},
         ["A firewall rule on node"]),
        # Closed on purpose.
        ({"reach__0__state": "no answer", "reach__0__meant": False}, []),
        ({"refusals": [{**REFUSED, "why": "starting"}]}, []),
    ],
)  # fmt: skip
def test_causes_come_before_what_follows(changes: dict[str, Any], texts: list[str]) -> None:
    found = [finding.text for finding in diagnose([seen(**changes)]).findings]
    assert len(found) == len(texts), found
    assert all(text.startswith(begin) for text, begin in zip(found, texts)), found


@pytest.mark.parametrize("gone", ["disks", "certificates", "services", "secrets", "firewall",
                                  "controller", "ctp", "keydb", "echo", "orthanc"])  # fmt: skip
def test_what_could_not_be_looked_at_is_said(gone: str) -> None:
    result = diagnose([{**seen(**{gone: None}), "unanswered": {gone: "CommandError"}}])
    assert any(step.state == UNKNOWN and step.detail.startswith("because") for step in result.steps)
    assert report([{**HEALTHY, gone: None}])


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("secrets", "The services have the secrets of the inventory"),
        ("echo", "CTP can reach Orthanc: name, port, AE title"),
    ],
)
def test_what_needs_the_address_of_a_nameless_machine_is_not_judged(name: str, what: str) -> None:
    state, detail = step(what, **{name: None, "unasked": [name]})
    assert (state, detail) == (UNKNOWN, "because the other machine's name has no address here")


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        ({"seen": {}, "msg": "sudo: a password is required"}, ""),
        ({"failed": True, "msg": "Missing sudo password"}, "no root"),
        ({"failed": True, "msg": "Task failed: Module failed", "module_stderr":
          "OSError: [Errno 28] No space left on device: '/tmp/x'"}, "disk full"),
        ({"failed": True, "msg": "The module interpreter '/usr/bin/python3' was not found."},
         "no Python"),
        ({"failed": True, "module_stderr": "/bin/sh: 1: /usr/bin/python3: not found"}, "no Python"),
        ({"failed": True, "msg": "Error while resolving value for 'keydb': 'vault_x' is undefined"},
         "undefined variable"),
        ({"unreachable": True, "msg": "Failed to connect to the host via ssh"}, ""),
    ],
)  # fmt: skip
def test_why_looking_failed(result: dict[str, Any], kind: str) -> None:
    assert failure_kind(result) == kind


def test_a_machine_with_nothing_on_it() -> None:
    bare = {"host": "node", "reached": True, "here": list(SERVICES), "engine": ""}
    bare["engine_installed"] = False
    result = diagnose([bare])
    assert result.findings[0].text.startswith("Docker is not installed")
    assert {step.state for step in result.steps} == {FAILED, UNKNOWN}


def step(what: str, **changes: Any) -> tuple[str, str]:
    """State and detail of the step whose text begins so."""
    steps = diagnose([seen(**changes)]).steps
    (found,) = [each for each in steps if each.what.startswith(what)]
    return found.state, found.detail


NAMELESS = {"reach__0__state": "its name has no address here", "reach__0__from": ""}


@pytest.mark.parametrize(
    ("what", "changes", "state", "detail"),
    [
        # A port is closed as declared only where that was looked at.
        ("Port 8042", {"reach__0__meant": False, "reach__0__state": "no answer"}, OK,
         "closed to this machine, as declared"),
        ("Port 8042", {**NAMELESS, "reach__0__meant": None}, UNKNOWN,
         "because its name has no address here"),
        ("Port 8042", {**NAMELESS, "reach__0__meant": False}, UNKNOWN,
         "because its name has no address here"),
        ("Port 8042", {"reach__0__meant": None, "reach__0__state": "refused"}, UNKNOWN,
         "refused; whether it should be open: a name among its sources has no address here"),
        ("Port 8042", {"reach__0__meant": None, "reach__0__state": "no answer",
                       "reach__0__from": ""}, UNKNOWN,
         "no answer; whether it should be open: this machine's address on the way is not known"),
        ("Port 8042", {"reach__0__meant": False, "reach__0__state": "no way to it"}, UNKNOWN,
         "because there is no way to it from here"),
        ("Port 8042", {"reach__0__meant": None}, OK, "open; whether it should be cannot be told"),
        # The machine itself is no stranger, whatever the sources are.
        ("Port 8042", {"reach__0__own": True, "reach__0__meant": False}, OK, "open"),
        ("Port 8042", {"own_addresses": ["fe80::1", "10.1.1.1"], "reach__0__meant": False}, OK,
         "open"),
        # A figure that is not known is not printed, nor taken for none.
        ("CTP accepts", {"ctp__received": None}, OK, "objects accepted so far: not known"),
        ("CTP accepts", {"ctp__reception_open": None}, UNKNOWN, "because this CTP does not tell"),
        ("CTP passes", {"ctp__forwarded": None}, OK, "forwarded: not known, 0 queued"),
        ("CTP passes", {"ctp__queued": None}, UNKNOWN, "because what waits is not known"),
        # Nor is what was not there to be looked at fine.
        ("CTP refuses", {"refusals": None, "unanswered": {"log": "CommandError"}}, UNKNOWN,
         "because looking failed (CommandError)"),
        ("There is space", {"disks__0__exists": False}, UNKNOWN, "because /srv/c does not exist"),
        ("No certificate", {"certificates__0__not_after": None}, UNKNOWN,
         "because /x/swarm-node.crt cannot be read; 1 looked at"),
        ("No certificate", {"held_certificates__0__not_after": None}, UNKNOWN,
         "because that of the service front cannot be read; 1 looked at"),
        ("No certificate",
         {"held_certificates": None, "unanswered": {"held_certificates": "OSError"}}, UNKNOWN,
         "because looking failed (OSError)"),
        # What is not known of a service is not that it does not run.
        ("Orthanc answers", {"services": None}, UNKNOWN,
         "because it is not known whether Orthanc runs"),
        ("CTP holds", {"ctp__quarantined": None}, UNKNOWN, "because what it holds is not known"),
        ("No firewall", {"firewall__wanted": False, "firewall__loaded": False}, OK,
         "switched off in the inventory"),
    ],
)  # fmt: skip
def test_nothing_is_said_without_its_ground(
    what: str, changes: dict[str, Any], state: str, detail: str
) -> None:
    assert step(what, **changes) == (state, detail)
    text = report([seen(**changes)])
    assert "None" not in text
    assert "nothing wrong found" in text or "has no address on this machine" in text


@pytest.mark.parametrize(
    ("changes", "text", "remedy"),
    [
        (NAMELESS, "The name of node has no address on this machine", "Set auscat_address of node"),
        ({"reach__0__state": "no answer", "firewall": None},
         "Port 8042 of node (Web page) cannot be reached from here (10.1.1.1): no answer. The rules"
         " on node could not be looked at.", "See nft list ruleset there."),
        ({"reach__0__state": "refused", "reach__0__own": True},
         "Port 8042 of node (Web page) cannot be reached from node itself: refused.",
         "See whether it is published"),
        ({"reach__0__meant": False},
         "Port 8042 of node (Web page) is open to this machine (10.1.1.1), which is not among its"
         " declared sources.", "Load the limits of the inventory"),
        ({"ctp__reception_open": False, "ctp__short_of_space": True, "ctp__free_mib": None},
         "CTP on node has closed its reception: too little is left on the disk", "Make room"),
    ],
)  # fmt: skip
def test_what_is_found_has_its_ground(changes: dict[str, Any], text: str, remedy: str) -> None:
    (found,) = diagnose([seen(**changes)]).findings
    assert found.text.startswith(text) and found.remedy.startswith(remedy), found


def test_one_machine_of_two_is_away() -> None:
    other = {"host": "cat", "reached": False}
    result = diagnose([seen(here=["ctp", "keydb"]), other])
    assert [finding.text for finding in result.findings] == [
        "The machine cat cannot be reached from here; nothing on it could be checked."
    ]
    assert any(step.where == "node" and step.state == "ok" for step in result.steps)


def test_only_known_texts_are_shared() -> None:
    found = shareable({"host": "node", "name": "SECRET", "list": [{"note": "SECRET"}], "n": 1})
    assert "SECRET" not in json.dumps(found) and found["host"] == "node" and found["n"] == 1
    files = bundle([HEALTHY], {"node": {"ctp": "a line\n"}})
    assert set(files) == {"report.txt", "observations.json", "node-ctp.log"}
