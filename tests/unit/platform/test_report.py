from __future__ import annotations

from ansible_collections.auscat.imaging.plugins.module_utils import report


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
    )
    assert "this machine, 192.0.2.0/24" in lines
    assert "this machine only" in lines
    assert "http://[2001:db8::7]:8042" in lines
    assert "/srv/auscat/orthanc" in lines


def test_the_proof_report_counts_what_failed() -> None:
    checks = [
        {"check": "a", "where": "catvm1", "passed": True, "detail": ""},
        {"check": "b", "where": "catvm1", "passed": False, "detail": "3 of 5 instances"},
    ]
    lines = report.proof_report(checks, "Log in as admin.").splitlines()
    assert lines[-1] == "Log in as admin."
    assert lines[0] == "Proof: 1 of 2 checks FAILED"
    assert any(line.startswith("FAILED") and "3 of 5 instances" in line for line in lines)
    assert report.proof_report(checks[:1]).startswith("Proof: all 1 checks passed")
    assert "not run" in report.proof_report([])
