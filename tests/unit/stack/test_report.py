from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.firewall import port_table
from ansible_collections.auscat.imaging.plugins.module_utils.firewall.port_rules import (
    PortRuleError,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof import outcome
from ansible_collections.auscat.imaging.plugins.module_utils.stack import report


def test_the_node_report_names_every_port_and_who_may_reach_it() -> None:
    port = {
        "published": 8042,
        "protocol": "tcp",
        "service": "orthanc",
        "purpose": "Web interface",
        "scheme": "http",
    }
    lines = report.node_report(
        "catvm1",
        [{"name": "orthanc", "health": "healthy", "image": "orthanc:1"}],
        [{**port, "sources": ["192.0.2.0/24"]}, {**port, "published": 4242, "sources": []}],
        [
            {
                "service": "orthanc",
                "path": "/srv/auscat/orthanc",
                "owner": 1,
                "group": 2,
                "mode": "0750",
            }
        ],
        "2001:db8::7",
        [{"pipeline": "orthanc", "preset": "radiotherapy", "changes": "longitudinal: full"}],
    )
    assert "orthanc   radiotherapy  longitudinal: full" in lines
    assert "this machine, 192.0.2.0/24" in lines
    assert "this machine only" in lines
    assert "http://[2001:db8::7]:8042" in lines
    assert "/srv/auscat/orthanc" in lines


def test_the_proof_report_counts_what_failed() -> None:
    checks = [
        {"check": "a", "where": "catvm1", "passed": True, "detail": ""},
        {"check": "b", "where": "catvm1", "passed": False, "detail": "3 of 5 instances"},
    ]
    lines = outcome.proof_report(checks, "Log in as admin.").splitlines()
    assert lines[-1] == "Log in as admin."
    assert lines[0] == "Proof: 1 of 2 checks FAILED"
    assert any(line.startswith("FAILED") and "3 of 5 instances" in line for line in lines)
    assert outcome.proof_report(checks[:1]).startswith("Proof: 1 check passed")
    assert "not run" in outcome.proof_report([])


PORTS: list[dict[str, Any]] = [
    {
        "service": "orthanc",
        "published": 8042,
        "protocol": "tcp",
        "purpose": "Web, page",
        "sources": ["10.0.1.1", "2001:db8::7", "10.9.0.0/16"],
        "source_names": {"10.0.1.1": "researchers", "2001:db8::7": "researchers"},
    },
    {"service": "ctp", "published": 9090, "protocol": "tcp", "purpose": "Page", "sources": []},
]


def test_the_port_table_has_a_row_for_each_source() -> None:
    rows = port_table.port_rows(PORTS, "cat", ["10.0.0.2", "2001:db8::2"], 22)
    assert [row[:4] for row in rows] == [
        ["controller", "", "cat", "10.0.0.2 2001:db8::2"],
        ["researchers", "10.0.1.1", "cat", "10.0.0.2"],
        ["researchers", "2001:db8::7", "cat", "2001:db8::2"],
        ["", "10.9.0.0/16", "cat", "10.0.0.2"],
        ["nobody", "", "cat", "10.0.0.2 2001:db8::2"],
    ]
    assert port_table.port_table(rows).splitlines()[0].split() == list(port_table.PORT_COLUMNS)
    assert port_table.port_rows(PORTS, "cat", ["10.0.0.2"])[0][0] == "researchers"


def test_the_port_table_as_csv_can_be_read_back() -> None:
    rows = port_table.port_rows(PORTS, "cat", ["10.0.0.2"], 22)
    read = list(csv.reader(io.StringIO(port_table.port_table(rows, "csv"))))
    assert read[1:] == rows
    assert len(set(read[0])) == 7


def test_the_port_table_refuses_what_the_firewall_would() -> None:
    with pytest.raises(PortRuleError, match=r"is '10\.0\.0\.1/8'"):
        port_table.port_rows([{**PORTS[0], "sources": ["10.0.0.1/8"]}], "cat", ["10.0.0.2"])


def test_names_stand_before_their_addresses() -> None:
    port = PORTS[0]
    text = port_table.senders(port["sources"], port["source_names"])
    assert text == "this machine, researchers (10.0.1.1, 2001:db8::7), 10.9.0.0/16"
