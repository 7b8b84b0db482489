from __future__ import annotations

import copy
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import (
    metrics,
    rules,
)
from prometheus_client.parser import text_string_to_metric_families
from test_rules import LIMITS, NOW, WELL, iso


def parsed(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_parser_of_others_reads_what_was_meant() -> None:
    state: dict[str, Any] = copy.deepcopy(WELL)
    state["volumes"][0]["mount"] = '/srv/"a\\b\nc'
    alerts = [rules.alert("disk_low", "critical", "/", "full")]
    found = parsed(metrics.text(state, alerts, LIMITS))
    assert found["auscat_sample_timestamp_seconds", ()] == NOW
    assert found["auscat_volume_free_bytes", (("mount", '/srv/"a\\b\nc'),)] == 50
    assert found["auscat_ctp_received_total", ()] == 10
    assert found["auscat_alert", (("alert", "disk_low"), ("severity", "critical"))] == 1
    assert found["auscat_alert", (("alert", "disk_low"), ("severity", "warning"))] == 0
    assert found["auscat_service_healthy", (("service", "ctp"),)] == 1
    assert found["auscat_proof_passed", ()] == 1
    when = "auscat_backup_timestamp_seconds", (("kind", "identifiable"),)
    assert found[when] == NOW - 3600


def test_a_failed_backup_leaves_the_time_of_the_last_good_one() -> None:
    state = copy.deepcopy(WELL)
    state["backup"]["identifiable"] |= {"ok": False, "last_ok": iso(90_000)}
    found = parsed(metrics.text(state, [], LIMITS))
    kind = (("kind", "identifiable"),)
    assert found["auscat_backup_ok", kind] == 0
    assert found["auscat_backup_timestamp_seconds", kind] == NOW - 3600
    assert found["auscat_backup_succeeded_timestamp_seconds", kind] == NOW - 90_000


def test_every_alert_is_there_also_when_it_is_not_raised() -> None:
    found = parsed(metrics.text(WELL, [], LIMITS))
    told = {dict(labels)["alert"] for name, labels in found if name == "auscat_alert"}
    assert told == set(rules.ALERTS) - {"unreachable"}
    assert not [value for (name, _), value in found.items() if name == "auscat_alert" and value]


def test_what_is_not_known_has_no_sample() -> None:
    state = copy.deepcopy(WELL)
    state["ctp"] = {"answers": False}
    state["clock"] = {"source": "unknown", "synchronised": None, "offset_seconds": None}
    state["backup"] = {"identifiable": None}
    names = {name for name, _ in parsed(metrics.text(state, [], LIMITS))}
    assert not {n for n in names if n.startswith(("auscat_ctp_", "auscat_clock", "auscat_backup"))}
    assert "auscat_figures_known" in names
