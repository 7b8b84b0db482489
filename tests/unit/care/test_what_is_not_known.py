"""No text that an operator reads shows a number where nothing is known, or "1 studies"."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.backup import report as backup_report
from ansible_collections.auscat.imaging.plugins.module_utils.backup.program import base
from ansible_collections.auscat.imaging.plugins.module_utils.care import (
    quarantine,
    quarantine_exports,
    studies,
)
from ansible_collections.auscat.imaging.plugins.module_utils.care.diagnosis import Diagnosis
from ansible_collections.auscat.imaging.plugins.module_utils.care.study_steps import _queue
from ansible_collections.auscat.imaging.plugins.module_utils.host.tables import counted
from ansible_collections.auscat.imaging.plugins.module_utils.proof import ctp as proof_ctp
from ansible_collections.auscat.imaging.plugins.module_utils.proof import outcome
from ansible_collections.auscat.imaging.plugins.module_utils.stack import upgrade_plan
from ansible_collections.auscat.imaging.plugins.module_utils.status import report as status_report
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import rules
from ansible_collections.auscat.imaging.plugins.module_utils.status.page import status_page

NOW = 1_795_000_000.0
#: What of a state may be missing or None, as `collect.state` and `observe` give it.
UNKNOWN: dict[str, Any] = {
    "time": NOW,
    "node": "kv",
    "environment": "simulation",
    "system": {"os": "Debian", "kernel": "6", "service_manager": "none"},
    "engine": "26.1",
    "services": {
        "ctp": {
            **{"desired": 1, "running": 1, "health": "starting", "since": None, "failures": []},
            **{"image": "x", "image_id": "0", "image_created": None, "version": ""},
        }
    },
    "ctp": {
        **dict.fromkeys(
            ("received", "forwarded", "queued", "import_queue", "export_queue", "oldest_seconds")
        ),
        **dict.fromkeys(("reception_open", "keydb_patients", "studies")),
        **{"answers": True, "quarantined": None, "quarantine": {}, "keydb_age_seconds": 1.0},
    },
    "orthanc": {"answers": True, "studies": None, "instances": None, "bytes": None},
    "keydb": {"answers": True, "patients": None, "bytes": None},
    "volumes": [{"mount": "/", "size": 0, "free": 0, "inodes": 0, "inodes_free": 0}],
    "certificates": [{"name": "Swarm", "not_after": None}],
    "clock": {"source": "", "synchronised": None, "offset_seconds": None},
    "firewall": {"wanted": True, "loaded": True, "equal": True, "enabled": None},
    "proof": {"failed": 0},
    "backup": {"identifiable": {"failed": 0}, "deidentified": None, "verify": {"failed": 0}},
    "sampler": {
        **{"expected": False, "active": False, "failed": False, "now": False},
        **{"interval_minutes": 5, "systemd": False},
    },
}


def one(value: Any) -> Any:
    """Put 1 in the place of each figure that is not known."""
    if isinstance(value, Mapping):
        return {key: one(each) for key, each in value.items()}
    return 1 if value is None else value


def seen(state: dict[str, Any]) -> dict[str, Any]:
    limits = dict.fromkeys(rules.LIMITS, 1.0)
    return {"state": state, "alerts": rules.evaluate(state, [], limits), "history": []}


def status_texts(state: dict[str, Any]) -> Iterator[str]:
    results = {"kv": seen(state)}
    yield status_report.status_table(results, NOW)
    yield re.sub(r"<style>.*?</style>", "", status_page(results, NOW), flags=re.DOTALL)


class Page:
    """CTP's page that says of its figures what it is given."""

    url = "http://ctp"

    def __init__(self, number: int | None) -> None:
        self.number = number

    def get_json(self, _: str) -> dict[str, Any]:
        figures = dict.fromkeys(("received", "forwarded", "queued", "quarantined"), self.number)
        return {**figures, "quarantine": []}


def held(count: int) -> list[quarantine.Held]:
    device = quarantine.Device("1.2.840.10008.5.1.4.1.1.2")
    return [
        quarantine.Held(str(n), "pixels-not-declared", "", False, NOW, "", device=device)
        for n in range(count)
    ]


def texts(number: int | None) -> Iterator[str]:
    """All texts with this figure wherever one may be not known, or be 1."""
    yield from status_texts(copy.deepcopy(UNKNOWN) if number is None else unusual())
    yield backup_report.backup_table(
        [
            {"host": "kv", "kind": "identifiable", "error": "x"},
            {
                **{"host": "kv", "kind": "identifiable", "snapshot": None, "bytes_added": number},
                **{"seconds": number, "held_seconds": None, "error": None},
                "counts": {
                    **{"key_pairs": number, "studies": number, "ctp_files": number},
                    **{"portainer_files": 1, "extra_rows": {"t": 1}, "keydb_rows": {"patient": 1}},
                },
            },
        ]
    )
    yield proof_ctp.StatusPageCtp(Page(number)).counts()
    rows = quarantine.summary(held(1))
    yield quarantine.quarantine_report("kv", rows, "", quarantine.devices(held(1)))
    yield quarantine.release_report(1, {"unreadable": 1})
    answer = {"since": "2026", "kept_days": 30, "more": 1, "studies": []}
    yield studies.study_report([answer])
    yield studies.names_report([answer])
    yield outcome.proof_report([{"passed": True, "where": "kv", "check": "x"}])
    yield outcome.proof_report([{"passed": False, "where": "kv", "check": "x"}])
    yield upgrade_plan.size_text({"linked": 1, "copied": 1, "path": "/x", "free": 1})
    yield str(quarantine_exports.Export(Path("/x"), 1, 1))
    result = Diagnosis()
    page = {
        **{"answers": True, "told": True, "login": True, "forwarded": number, "queued": number},
        **{"oldest_seconds": 400, "waits_for_orthanc": False, "frozen": False},
        "short_of_space": False,
    }
    row = {"deployed": True, "replicas": 1, "running": 1, "health": "healthy"}
    host = {"host": "kv", "engine": True, "here": ["ctp"], "services": {"ctp": row}, "ctp": page}
    _queue(result, host, [])
    yield repr(result.__dict__)


def unusual() -> dict[str, Any]:
    """As `UNKNOWN`, with one of each."""
    state = one(UNKNOWN)
    state["services"]["ctp"] |= {"failures": [NOW - 1], "memory_kills": [NOW - 1], "since": NOW}
    state["ctp"] |= {"quarantine": {"unreadable": 1}, "studies": None, "oldest_seconds": 99}
    state["certificates"][0]["not_after"] = NOW - 1
    state["clock"] = {"source": "chrony", "synchronised": True, "offset_seconds": 0.0}
    state["firewall"]["enabled"] = True
    then = "2026-11-18T12:00:00+00:00"
    state["proof"] = {"finished": then, "passed": True, "checks": 1, "failed": 0}
    state["backup"] = {"identifiable": {"finished": then, "ok": True, "ahead": 1, "failed": 0}}
    return state


@pytest.mark.parametrize("number", [None, 1])
def test_nothing_is_made_up_of_what_is_not_known(number: int | None) -> None:
    for text in texts(number):
        assert not re.search(r"\b(None|null|nan|inf)\b", text), text


#: Things that are counted in texts; "1 of 2 checks" counts the others.
MANY = (
    "studies|objects|instances|patients|checks|files|rows|key pairs|snapshots|containers|times"
    "|objects wait|more studies"
)


def test_one_thing_is_not_several() -> None:
    for text in texts(1):
        plain = re.sub(r"[\d ]* of \d+ ", "", text)
        assert not re.search(rf"(?<![\d.])1 ({MANY})\b", plain), text


def test_what_is_not_known_is_said_so() -> None:
    table = "\n".join(status_texts(copy.deepcopy(UNKNOWN)))
    for words in (
        "an unknown number of studies, an unknown number of instances, an unknown size",
        "an unknown number of patients",
        "waiting: not known; received: not known, sent on: not known",
        "an unknown number of objects",
        "what it noted cannot be read",
    ):
        assert words in table, table
    assert "0 s after its start" not in table


def test_a_start_that_is_not_known_is_no_start_just_now() -> None:
    state = copy.deepcopy(UNKNOWN)
    state["services"]["ctp"]["health"] = "unhealthy"
    assert "when it was started is not known" in "\n".join(status_texts(state))


@pytest.mark.parametrize("count", [counted, rules.number, base.counted])
def test_the_three_that_count_agree(count: Any) -> None:
    """The programs of a machine are copied there alone, so each has its own."""
    assert [count(n, "study", "studies") for n in (0, 1, 2, 1204)] == [
        *("0 studies", "1 study", "2 studies", "1 204 studies")
    ]
    assert [count(n, "file") for n in (1, 2)] == ["1 file", "2 files"]
