"""Each fault that the scenarios cause is named first by the diagnosis of what is seen of it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.care.troubleshoot import (
    findings,
    report,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "molecule"))

from shared.diagnoses import first_line
from shared.known_faults import FAULTS, SEAT, SITE_CA, SWARM, Fault
from test_troubleshoot import BLOCK, HEALTHY, MIB, NOW, STOPPED, seen

ROW = HEALTHY["services"]["ctp"]
PACS = {"peer": "10.213.90.11", "count": 1, "last": "2026-11-24T18:40:27"}
OURS = {**BLOCK, "ours": True}
SENDER = {**OURS, "port": 8104, "who": "the sender", "variable": "ctp_dicom_sources"}


def stopped(service: str, **more: Any) -> dict[str, Any]:
    return {f"services__{service}": STOPPED, **more}


def full(service: str, path: str, free: int = 0) -> dict[str, Any]:
    """Its file system beside those that have space."""
    row = {**HEALTHY["disks"][0], "service": service, "path": path, "free": free * MIB}
    return {"disks": [HEALTHY["disks"][0], row]}


def expired(path: str) -> dict[str, Any]:
    # 2020-01-02, as the scenarios make them.
    return {"certificates": [{"name": "x", "path": path, "not_after": 1_577_923_200.0}]}


def role(**more: Any) -> dict[str, Any]:
    return {"keydb": {**HEALTHY["keydb"], **more}, "ctp__quarantine": {"unknown-patient": 1}}


AWAY = {"reached": False}
CLOCK = {"time": NOW + 10800}
#: What is seen while a fault is there, with what follows from it: the parts that differ from those
#: of a healthy node.
SEEN: dict[str, dict[str, Any]] = {
    "ctp_stopped": stopped("ctp", ctp=None, refusals=None),
    "gate_stopped": stopped("ctp_gate"),
    "export_stopped": stopped("ctp_export", echo={"asked": True, "ok": False, "why": "name"}),
    "keydb_stopped": stopped("keydb", keydb=None),
    "front_stopped": stopped("front", ctp={**HEALTHY["ctp"], "answers": False}),
    "orthanc_stopped": stopped(
        "orthanc",
        orthanc={"answers": False},
        phantom=[],
        echo={"asked": True, "ok": False, "why": "name"},
    ),
    "never_deployed": {
        "services": {name: {"deployed": False} for name in ("ctp", "keydb", "orthanc")}
    },
    "called_title": {"refusals": [{**PACS, "why": "called AE title not recognized"}]},
    "calling_title": {"refusals": [{**PACS, "why": "calling AE title not recognized"}]},
    "unknown_patient": {"ctp__quarantined": 1, "ctp__quarantine": {"unknown-patient": 1}},
    "orthanc_out_of_reach": {
        "echo": {"asked": True, "ok": False, "why": "silent"},
        "ctp__waits_for_orthanc": True,
        "ctp__queued": 3,
    },
    "orthanc_title": {
        "echo": {"asked": True, "ok": False, "why": "calling"},
        "phantom__0__passed": False,
    },
    "foreign_rule": {
        "firewall__blocks": [
            {
                **BLOCK,
                "address": SEAT,
                "where": "table inet hospital, chain gateway, handle 2",
            }
        ],
        "reach__0__from": SEAT,
        "reach__0__state": "no answer",
    },
    "undeclared_sender": {
        "firewall__blocks": [{**SENDER, "address": "10.213.90.12", "sets": ["tcp_8104_ipv4"]}]
    },
    "undeclared_sender_ipv6": {
        "firewall__blocks": [{**SENDER, "address": "2001:db8::7", "sets": ["tcp_8104_ipv6"]}]
    },
    "operator_shut_out": {
        "firewall__blocks": [{**OURS, "address": SEAT, "sets": ["tcp_8042_ipv4"]}],
        "reach__0__from": SEAT,
        "reach__0__state": "no answer",
    },
    "rules_missing": {"firewall__loaded": False, "reach__0__meant": False},
    "ufw": {"host": "kv", "firewall__ufw": [8104]},
    "firewalld": {"host": "cat", "firewall__firewalld": [8042]},
    "ctp_disk": {
        **full("ctp", "/srv/auscat/ctp/temp", 30),
        "ctp__reception_open": False,
        "ctp__short_of_space": True,
    },
    "gate_disk": full("ctp_gate", "/srv/auscat/ctp/gate"),
    "keydb_disk": {**full("keydb", "/srv/auscat/keydb"), "keydb": {"answers": False}},
    "orthanc_disk": {**full("orthanc", "/srv/auscat/orthanc"), "phantom__0__passed": False},
    "keydb_password": role(password=False),
    "keydb_no_login": role(role=False, password=False),
    "keydb_table": role(told=False, patients=None),
    "other_secret": {
        "secrets": [{"service": "orthanc", "secret": "orthanc.json", "same": False}],
        "orthanc": {"answers": True, "login": False},
        "phantom": [],
    },
    "clock_of_python": CLOCK,
    "clock": CLOCK,
    "site_certificate": expired(SITE_CA),
    "swarm_certificate": expired(SWARM),
    "machine_away": AWAY,
    "no_python": {**AWAY, "answers": True, "failure": "no Python"},
    "keydb_ends": {
        "services__keydb": {**ROW, "failures": [NOW - 90, NOW - 60, NOW - 30]},
        "keydb": {"answers": False},
    },
    "memory": {
        "services__keydb": {
            **ROW,
            "failures": [NOW - 90, NOW - 60, NOW - 30],
            "memory_kills": [NOW - 5],
        }
    },
    "engine_down": {"engine": "", "services": None, "ctp": None, "keydb": None, "orthanc": None,
                    "echo": None, "refusals": None, "phantom": []},
    "swarm_locked": {"swarm_locked": True, "services": None, "ctp": None, "keydb": None,
                     "orthanc": None, "echo": None, "refusals": None, "phantom": []},
}  # fmt: skip


def test_no_fault_is_left_out() -> None:
    assert sorted(SEEN) == sorted(each.name for each in FAULTS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault.name))
def test_the_first_line_names_the_fault(fault: Fault) -> None:
    found = findings([seen(**SEEN[fault.name])])
    assert found and re.match(fault.first, found[0]), found
    assert not fault.alone or len(found) == 1, found
    # As the scenarios read it out of the text.
    text = " ".join(report([seen(**SEEN[fault.name])]).split())
    assert first_line(text[text.index("Diagnosis") :]) == found[0]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault.name))
def test_no_other_fault_is_taken_for_it(fault: Fault) -> None:
    """Else a first line could name another cause and be right all the same."""
    same = {"clock", "clock_of_python"}
    for name, changes in SEEN.items():
        if name != fault.name and not {name, fault.name} <= same:
            assert not re.match(fault.first, findings([seen(**changes)])[0]), name
