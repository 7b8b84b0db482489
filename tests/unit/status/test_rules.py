from __future__ import annotations

import copy
import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import rules

REPOSITORY = Path(__file__).resolve().parents[3]
DEFAULTS = yaml.safe_load((REPOSITORY / "roles/status/defaults/main.yml").read_text())
#: As an inventory has them that sets none, of a production node.
LIMITS = {name: DEFAULTS[f"status_{name}"] for name in rules.LIMITS} | {"backup_required": 1}
NOW = 1_795_000_000.0


def iso(seconds_ago: float) -> str:
    moment = datetime.datetime.fromtimestamp(NOW - seconds_ago, datetime.timezone.utc)
    return moment.isoformat(timespec="seconds")


SERVICE = {
    "desired": 1,
    "running": 1,
    "health": "healthy",
    "since": NOW - 3600,
    "failures": [],
    "image": "x",
    "image_id": "0123456789ab",
    "image_created": NOW - 86400,
    "version": "1.2",
}
WELL: dict[str, Any] = {
    "time": NOW,
    "node": "kv",
    "environment": "simulation",
    "system": {"os": "Debian", "kernel": "6", "service_manager": "systemd"},
    "engine": "26.1",
    "services": {"ctp": dict(SERVICE), "orthanc": dict(SERVICE)},
    "ctp": {
        "answers": True,
        "received": 10,
        "forwarded": 10,
        "queued": 0,
        "import_queue": 0,
        "export_queue": 0,
        "oldest_seconds": None,
        "quarantined": 0,
        "quarantine": {},
        "reception_open": True,
        "keydb_age_seconds": 1.0,
        "keydb_patients": 3,
    },
    "orthanc": {
        "answers": True,
        "version": "1.12.7",
        "patients": 1,
        "studies": 2,
        "series": 3,
        "instances": 4,
        "bytes": 5,
    },
    "keydb": {"answers": True, "version": "17.1", "patients": 3, "bytes": 1},
    "volumes": [{"mount": "/", "size": 100, "free": 50, "inodes": 100, "inodes_free": 50}],
    "certificates": [{"name": "Swarm", "not_after": NOW + 60 * 86400}],
    "clock": {"source": "chrony", "synchronised": True, "offset_seconds": 0.0},
    "firewall": {"wanted": True, "loaded": True, "equal": True, "enabled": True},
    "proof": {"finished": iso(3600), "passed": True, "checks": 20, "failed": 0},
    "backup": {
        "identifiable": {"finished": iso(3600), "ok": True, "max_age_hours": 26, "failed": 0},
        "verify": None,
    },
    "sampler": {
        "expected": True,
        "active": True,
        "failed": False,
        "now": False,
        "interval_minutes": 5,
        "systemd": True,
    },
}


def changed(**paths: Any) -> dict[str, Any]:
    """Give the healthy state with values at paths such as ctp__queued replaced."""
    state = copy.deepcopy(WELL)
    for path, value in paths.items():
        *parents, last = path.split("__")
        place = state
        for parent in parents:
            place = place[parent]
        place[last] = value
    return state


def past(minutes: float, **values: Any) -> dict[str, Any]:
    return {"time": NOW - 60 * minutes, "forwarded": 10, "received": 10, **values}


FRESH = [past(5, queued=0, export_queue=0, quarantined=0)]
HELD = {"ctp__queued": 200, "ctp__export_queue": 200, "ctp__oldest_seconds": 60}
FAILED = {"since": NOW - 60, "tries": 2, "at": NOW, "partly": False, "why": "no answer in time"}
CASES: list[tuple[dict[str, Any], list[dict[str, Any]], set[str]]] = [
    ({}, FRESH, set()),
    ({"engine": ""}, FRESH, {"engine_down:critical"}),
    # The cause alone, and nothing that only follows from it.
    (
        {"swarm_locked": True, "services__ctp__running": 0, "orthanc__answers": False},
        FRESH,
        {"swarm_locked:critical"},
    ),
    ({"services__ctp__running": 0}, FRESH, {"service_down:critical"}),
    ({"services__ctp__health": "unhealthy"}, FRESH, {"service_unhealthy:critical"}),
    ({"services__ctp__health": "starting"}, FRESH, {"service_unhealthy:critical"}),
    ({"services__ctp__health": "starting", "services__ctp__since": NOW - 60}, FRESH, set()),
    ({"services__ctp__failures": [NOW - 60, NOW - 90]}, FRESH, set()),
    (
        {"services__ctp__failures": [NOW - 60, NOW - 90, NOW - 99]},
        FRESH,
        {"service_restarting:warning"},
    ),
    ({"services__ctp__failures": [NOW - 7200] * 5}, FRESH, set()),
    (
        {"services__orthanc__memory_kills": [NOW - 7200, NOW - 60]},
        FRESH,
        {"service_out_of_memory:critical"},
    ),
    ({"services__orthanc__memory_kills": [NOW - 7200]}, FRESH, set()),
    (
        {
            "ctp__quarantined": 1,
            "ctp__quarantine": {"refused-by-orthanc": 1},
            "ctp__held_back": ["Orthanc ended, 3 times; 600 MiB, SOP class 1.2.840"],
        },
        FRESH,
        {"quarantine_not_empty:warning", "object_held_back:warning"},
    ),
    ({"ctp__studies": {"incomplete": 2, "mixed": 0}}, FRESH, {"study_incomplete:warning"}),
    (
        {"ctp__studies": {"incomplete": 0, "mixed": 1, "mixed_age_seconds": 3600}},
        FRESH,
        {"study_mixed:warning"},
    ),
    ({"ctp__studies": {"mixed": 1, "mixed_age_seconds": 169 * 3600}}, FRESH, set()),
    ({"services__ctp__image_created": NOW - 181 * 86400}, FRESH, {"image_old:warning"}),
    ({"services__ctp__image_created": NOW - 179 * 86400}, FRESH, set()),
    ({"ctp": {"answers": False}}, FRESH, {"figures_missing:warning"}),
    ({"ctp": None}, FRESH, set()),
    ({"ctp__reception_open": False}, FRESH, {"reception_closed:critical"}),
    ({"ctp__reception_open": None}, FRESH, set()),
    ({"ctp__keydb_age_seconds": 301.0}, FRESH, {"keydb_table_stale:warning"}),
    # A start of CTP does not make its list of patients fresh.
    ({"ctp__keydb_age_seconds": None}, FRESH, {"keydb_table_stale:warning"}),
    ({"ctp__keydb_age_seconds": None, "services__ctp__since": NOW - 60}, FRESH, set()),
    ({"ctp__keydb_age_seconds": None, "services__ctp__since": None}, FRESH, set()),
    ({"ctp__keydb_age_seconds": None, "ctp__keydb_patients": None}, FRESH, set()),
    ({"ctp__queued": 3, "ctp__oldest_seconds": 1801}, FRESH, {"queue_old:warning"}),
    ({"ctp__queued": 3, "ctp__oldest_seconds": 1799}, FRESH, set()),
    # Growing: more than half an hour ago, and not already shrinking again.
    (
        HELD,
        [past(31, queued=50, forwarded=1), past(5, queued=150, forwarded=2)],
        {"queue_growing:warning"},
    ),
    (HELD, [past(31, queued=150, forwarded=1), past(5, queued=180, forwarded=2)], set()),
    (HELD, [past(31, queued=50, forwarded=1), past(5, queued=400, forwarded=2)], set()),
    (HELD, [past(5, queued=50)], set()),
    # Orthanc takes nothing, all the time.
    (HELD, [past(11, queued=190), past(5, queued=180)], {"orthanc_not_receiving:critical"}),
    (HELD, [past(11, queued=190), past(5, queued=0)], set()),
    (HELD, [past(11, queued=190, forwarded=9), past(5, queued=190)], set()),
    (HELD, [past(9, queued=190)], set()),
    (
        {**HELD, "ctp__export_queue": None},
        [past(11, queued=201)],
        {"orthanc_not_receiving:critical"},
    ),
    ({**HELD, "ctp__forwarded": None}, [past(11, queued=201)], set()),
    (
        {"ctp__quarantined": 2, "ctp__quarantine": {"unknown-patient": 2}},
        FRESH,
        {"quarantine_not_empty:warning"},
    ),
    (
        {"ctp__quarantined": 25, "ctp__quarantine": {"unknown-patient": 25}},
        FRESH,
        {"quarantine_not_empty:warning", "quarantine_growing:warning"},
    ),
    (
        {"ctp__quarantined": 25, "ctp__quarantine": {"unknown-patient": 25}},
        [past(90, quarantined=0), past(61, quarantined=20), past(5, quarantined=25)],
        {"quarantine_not_empty:warning"},
    ),
    # What was there before and was purged does not hide what came after.
    (
        {"ctp__quarantined": 25, "ctp__quarantine": {"unknown-patient": 25}},
        [past(61, quarantined=25), past(30, quarantined=5), past(5, quarantined=25)],
        {"quarantine_not_empty:warning", "quarantine_growing:warning"},
    ),
    ({"volumes": [{**WELL["volumes"][0], "free": 14}]}, FRESH, {"disk_low:warning"}),
    ({"volumes": [{**WELL["volumes"][0], "free": 4}]}, FRESH, {"disk_low:critical"}),
    ({"volumes": [{**WELL["volumes"][0], "inodes_free": 4}]}, FRESH, {"disk_low:critical"}),
    ({"volumes": [{**WELL["volumes"][0], "inodes": 0, "inodes_free": 0}]}, FRESH, set()),
    ({"backup__identifiable": None}, FRESH, {"backup_missing:warning"}),
    ({"backup__identifiable__ok": False}, FRESH, {"backup_failed:critical"}),
    ({"backup__identifiable": {"failed": 0}}, FRESH, {"backup_failed:critical"}),
    ({"backup__identifiable__finished": iso(27 * 3600)}, FRESH, {"backup_overdue:critical"}),
    ({"backup__identifiable__max_age_hours": 0.5}, FRESH, {"backup_overdue:critical"}),
    ({"backup__identifiable__finished": iso(-3600)}, FRESH, {"backup_ahead:warning"}),
    (
        {"backup__verify": {"finished": iso(9), "ok": False, "failed": 0}},
        FRESH,
        {"backup_verify_failed:critical"},
    ),
    ({"backup__verify": {"finished": iso(9e6), "ok": True, "failed": 0}}, FRESH, set()),
    ({"proof": None}, FRESH, {"proof_old:warning"}),
    ({"proof__finished": iso(31 * 86400)}, FRESH, {"proof_old:warning"}),
    ({"proof__passed": False}, FRESH, {"proof_failed:critical"}),
    ({"proof": {"failed": 0}}, FRESH, {"proof_failed:critical"}),
    (
        {"certificates": [{"name": "a", "not_after": NOW - 1}]},
        FRESH,
        {"certificate_expired:critical"},
    ),
    (
        {"certificates": [{"name": "a", "not_after": NOW + 13 * 86400}]},
        FRESH,
        {"certificate_expiring:warning"},
    ),
    ({"certificates": [{"name": "a", "not_after": None}]}, FRESH, set()),
    (
        {"firewall__loaded": False, "firewall__equal": False},
        FRESH,
        {"firewall_missing:critical"},
    ),
    ({"firewall__equal": False}, FRESH, {"firewall_changed:critical"}),
    ({"firewall__unlimited": ["auscat_ctp 18042/tcp"]}, FRESH, {"port_unlimited:critical"}),
    ({"firewall__enabled": False}, FRESH, {"firewall_not_enabled:warning"}),
    ({"firewall__enabled": None}, FRESH, set()),
    ({"firewall": {**WELL["firewall"], "wanted": False, "loaded": False}}, FRESH, set()),
    ({"clock__synchronised": False}, FRESH, {"clock_unsynchronised:warning"}),
    ({"clock__offset_seconds": -1.5}, FRESH, {"clock_unsynchronised:warning"}),
    ({"clock__synchronised": None, "clock__offset_seconds": None}, FRESH, set()),
    ({"sampler__active": False}, FRESH, {"sampler_stopped:warning"}),
    ({"sampler__failed": True}, FRESH, {"sampler_stopped:warning"}),
    ({}, [past(16)], {"sampler_stopped:warning"}),
    ({"sampler__now": True}, [past(16)], set()),
    ({"sampler__expected": False, "sampler__active": False}, [], set()),
    (
        {"notify": {"ways": {"mail": {"sent": NOW, "failed": None}}, "maintenance": None}},
        FRESH,
        set(),
    ),
    (
        {"notify": {"ways": {"mail": {"sent": None, "failed": FAILED}}, "maintenance": None}},
        FRESH,
        {"notify_failed:warning"},
    ),
]


@pytest.mark.parametrize(("change", "history", "expected"), CASES)
def test_rule(change: dict[str, Any], history: list[dict[str, Any]], expected: set[str]) -> None:
    alerts = rules.evaluate(changed(**change), history, LIMITS)
    assert {f"{each['alert']}:{each['severity']}" for each in alerts} == expected
    assert all(each["text"] and each["next"] and each["subject"] for each in alerts)


def test_the_role_gives_each_limit_the_value_of_its_variable() -> None:
    told = yaml.safe_load((REPOSITORY / "roles/status/vars/main.yml").read_text())
    limits = told["__status_settings"]["limits"]
    assert set(limits) == rules.LIMITS
    for name, value in limits.items():
        assert value.split()[1] == f"status_{name}"


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({**LIMITS, "proof_hours": 1}, "settings.limits names proof_hours. Accepted: exactly"),
        (
            {name: value for name, value in LIMITS.items() if name != "restarts"},
            "settings.limits lacks restarts. Accepted: exactly",
        ),
        ({}, "settings.limits lacks backup_hours, backup_required, certificate_days,"),
    ],
)
def test_a_wrong_set_of_limits_is_refused(limits: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rules.evaluate(WELL, FRESH, limits)


def test_every_alert_has_a_case() -> None:
    told = set().union(*(expected for _, _, expected in CASES))
    every = {f"{n}:{s}" for n, (severities, _) in rules.ALERTS.items() for s in severities}
    assert every - told == {"unreachable:critical"}


def test_the_most_urgent_comes_first() -> None:
    state = changed(clock__synchronised=False, firewall__loaded=False)
    severities = [each["severity"] for each in rules.evaluate(state, FRESH, LIMITS)]
    assert severities == ["critical", "warning"]


def test_a_missing_backup_is_reported_only_where_one_is_required() -> None:
    state = changed(backup__identifiable=None)
    assert not rules.evaluate(state, FRESH, LIMITS | {"backup_required": 0})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24T17:55:41Z", 1795542941.0),
        ("2026-11-24T18:55:41+01:00", 1795542941.0),
        ("2026-11-24T17:55:41", 1795542941.0),
        ("yesterday", None),
        (None, None),
        (5, None),
    ],
)
def test_moment(text: Any, expected: float | None) -> None:
    assert rules.moment(text) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(5, "5 s"), (99, "99 s"), (3600, "60 min"), (7200, "2 h"), (3 * 86400, "3 days")],
)
def test_words(seconds: float, expected: str) -> None:
    assert rules.words(seconds) == expected


def test_what_a_service_ended_at_names_the_limit_of_that_service() -> None:
    """CTP's memory is not Orthanc's."""

    def remedy(*held: str) -> str:
        state = changed(ctp__quarantined=1, ctp__quarantine={"x": 1}, ctp__held_back=list(held))
        found = {each["alert"]: each for each in rules.evaluate(state, FRESH, LIMITS)}
        return found["object_held_back"]["next"]

    orthanc, ctp = "Orthanc ended, 3 times; 600 MiB, SOP class 1.2", "CTP ended, 3 times; 9 MiB"
    assert "auscat_largest_object_mib" in remedy(orthanc) and "ctp_heap" not in remedy(orthanc)
    assert "ctp_heap_mib" in remedy(ctp) and "auscat_largest" not in remedy(ctp)
    both = remedy(orthanc, ctp)
    assert "ctp_heap_mib" in both and "auscat_largest_object_mib" in both


def test_what_ended_at_a_time_to_come_has_no_age() -> None:
    backup = {"identifiable": {"finished": iso(-7200), "ok": True, "max_age_hours": 26}}
    state = changed(proof__finished=iso(-7200)) | {"backup": backup}
    told = {each["alert"]: each["text"] for each in rules.evaluate(state, [], LIMITS)}
    assert told["backup_ahead"].endswith("so that its age is not known.")
    assert told["proof_old"].endswith("so that its age is not known.")
    state["backup"]["identifiable"] |= {"finished": iso(60), "ahead": 1}
    told = {each["alert"]: each["text"] for each in rules.evaluate(state, [], LIMITS)}
    assert told["backup_ahead"].startswith("1 snapshot of a time that is still to come")
    # Clocks of two machines are a little apart.
    state["backup"]["identifiable"] |= {"finished": iso(-60), "ahead": 0}
    assert "backup_ahead" not in {each["alert"] for each in rules.evaluate(state, [], LIMITS)}
