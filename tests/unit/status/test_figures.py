from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import (
    observe,
)

PACKAGE = Path(__file__).parents[3] / "plugins" / "module_utils" / "status" / "node_status"
HELD = "Orthanc did nothing for 300 s, 3 times; 600 MiB or more, SOP class 1.2.840.10008"
TOLD: dict[str, Any] = {
    "standin": False,
    "version": "ctp_supervisor 1.4",
    "waiting_for": "Orthanc cannot be reached",
    "received": 9,
    "forwarded": 4,
    "queued": 3,
    "quarantined": 2,
    "quarantine": [
        {"id": "0-1-a", "sop_instance_uid": "1.2.826.0.1", "reason": "unknown-patient"},
        {"id": "0-1-b", "sop_instance_uid": "1.2.826.0.2", "reason": "DOE^JANE 4711"},
    ],
    "held_back": [HELD, "Orthanc DOE^JANE, 3 times; 4711 MiB", 4711],
    "studies": {
        **{"since": "DOE^JANE", "studies": 5, "complete": 2, "arriving": 1, "incomplete": 1},
        **{"waiting": 0, "unknown": 1, "mixed": 1, "mixed_age_seconds": 60, "unplaced": 0},
        "deleted": 1,
        "problem": "4711",
        "rows": [
            {
                **{"pseudonyms": ["TRIAL-1", "DOE^JANE"], "study": "1.2.826.0", "state": "waiting"},
                **{"newest": "4711", "series": 2, "received": 7, "left": 3, "waiting": 1},
                **{"deleted": 0, "broken": 1, "gone": 0, "held": {"DOE^JANE": 2, "incomplete": 1}},
            },
        ],
    },
    "deidentification": ["a: radiotherapy, longitudinal: full", "a: DOE^JANE", 4711],
    "reception": "DOE^JANE",
    "keydb": {"state": "away (4711)", "patients": 7, "age_seconds": 12.5},
    "pipelines": [
        {"name": "a", "import_queue": 1, "export_queue": 1, "oldest_seconds": 40},
        {"name": "b", "import_queue": 0, "export_queue": 1, "oldest_seconds": None},
    ],
}


def test_figures_of_the_supervisor() -> None:
    assert observe.ctp_figures(TOLD) == {
        "answers": True,
        "login": True,
        "told": True,
        "standin": False,
        "version": "1.4",
        "received": 9,
        "forwarded": 4,
        "queued": 3,
        "import_queue": 1,
        "export_queue": 2,
        "oldest_seconds": 40,
        "quarantined": 2,
        "quarantine": {"unknown-patient": 1, "other": 1},
        "held_back": [HELD],
        "deidentification": ["a: radiotherapy, longitudinal: full"],
        "studies": {
            **{"studies": 5, "complete": 2, "arriving": 1, "incomplete": 1, "unknown": 1},
            **{"waiting": 0, "deleted": 1},
            **{"mixed": 1, "unplaced": 0, "mixed_age_seconds": 60, "whole": False},
            "rows": [
                {
                    **{"pseudonym": "TRIAL-1, (?)", "state": "waiting", "received": 7, "left": 3},
                    **{"held": 3, "waiting": 1, "broken": 1, "gone": 0},
                }
            ],
        },
        "reception_open": False,
        "short_of_space": False,
        "free_mib": None,
        "frozen": False,
        "waits_for_orthanc": True,
        "keydb_age_seconds": 12.5,
        "keydb_patients": 7,
    }


def test_no_word_that_a_service_tells_is_taken_over() -> None:
    text = repr(observe.ctp_figures(TOLD))
    assert not [word for word in ("DOE", "4711", "1.2.826", "0-1-a") if word in text]
    assert observe.ctp_figures({**TOLD, "version": "x DOE^JANE"})["version"] == ""


def test_figures_of_the_stand_in_alone() -> None:
    """Of the flavour standin, which knows neither pipelines nor reception."""
    told = {k: TOLD[k] for k in ("standin", "version", "received", "forwarded", "queued")}
    figures = observe.ctp_figures({**told, "quarantined": 0, "quarantine": []})
    assert figures["queued"] == 3
    assert figures["export_queue"] is None
    assert figures["reception_open"] is None
    assert figures["studies"] is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24T17:55:41.123456789Z", 1795542941.123456),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
    ],
)
def test_times_of_the_engine(text: str, expected: float | None) -> None:
    assert observe.seconds(text) == expected


def test_the_program_needs_the_standard_library_alone() -> None:
    """It runs on a host where nothing of Ansible is."""
    names = set()
    for file in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(str(node.module).split(".")[0])
    assert names <= set(sys.stdlib_module_names)
