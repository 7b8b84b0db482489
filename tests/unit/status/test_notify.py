"""When people are told of what: by samples in turn, with real programs as receivers."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.status import report
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import (
    cli,
    collect,
    metrics,
    notify,
    observe,
    rules,
)
from test_figures import TOLD
from test_rules import LIMITS, NOW, changed

PACKAGE = Path(notify.__file__).parent
MINUTE, HOUR = 60.0, 3600.0
Alert = dict[str, str]


def alert(
    name: str = "queue_old", severity: str = "warning", subject: str = "ctp", text: str = "Old."
) -> Alert:
    return rules.alert(name, severity, subject, text)


LOW = alert("disk_low", "warning", "/srv", "10 % of its space are free.")
FULL = alert("disk_low", "critical", "/srv", "1 % of its space are free.")
DOWN = alert("service_down", "critical", "orthanc", "0 of 1 containers run.")


class Site:
    """A machine's sampler with a command as its way, which keeps each message as a file.

    It fails while ``out`` is there, as a way that is away does.
    """

    def __init__(self, root: Path, repeat_hours: float = 4, ways: tuple[str, ...] = ("command",)):
        self.root, self.now = root, NOW
        self.places: dict[str, Any] = {
            "ways": list(ways),
            "settings": str(root / "settings.json"),
            "state": str(root / "state.json"),
            "maintenance": str(root / "maintenance.json"),
            "spare": str(root / "spare.json"),
            "lock": str(root / "lock"),
        }
        self.settings = {"node": "kv01", "environment": "production", "notify": self.places}
        program = root / "page"
        program.write_text(
            f"#!/bin/sh\n[ ! -e {root}/out ] || exit 7\n"
            f"cat > {root}/message.$(ls {root} | wc -l).json\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.given(repeat_hours, {"command": {"arguments": [str(program)]}})

    def given(self, repeat_hours: float, ways: dict[str, Any]) -> None:
        text = json.dumps({"repeat_hours": repeat_hours, "ways": ways})
        Path(self.places["settings"]).write_text(text)

    def sample(self, *alerts: Alert, minutes: float = 5) -> list[tuple[str, str, str]]:
        """Take one later on; return of each alert that people got: change, name, severity."""
        found = self.messages(*alerts, minutes=minutes)
        assert len(found) < 2, "two messages of one sample"
        return [
            (each["change"], each["alert"], each["severity"])
            for text in found
            for each in text["alerts"]
        ]

    def messages(self, *alerts: Alert, minutes: float = 5) -> list[dict[str, Any]]:
        before = {*self.root.glob("message.*")}
        self.now += minutes * MINUTE
        state = {"time": self.now, "node": "kv01", "environment": "production"}
        ordered = sorted(alerts, key=lambda each: rules.SEVERITIES.index(each["severity"]))
        self.said = notify.after_sample(self.settings, state, ordered)
        return [json.loads(each.read_text()) for each in {*self.root.glob("message.*")} - before]

    def failing(self, yes: bool) -> None:
        place = self.root / "out"
        place.touch() if yes else place.unlink()

    def seen(self) -> dict[str, Any]:
        return notify.seen(self.places, self.now)

    def raised(self) -> list[tuple[str, str, str]]:
        """What is raised of it."""
        found = rules.evaluate(changed(notify=self.seen(), time=self.now), [], LIMITS)
        return [
            (each["severity"], each["subject"], each["text"])
            for each in found
            if each["alert"] == "notify_failed"
        ]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_people_are_told_when_it_begins_gets_worse_and_ends(site: Site) -> None:
    assert site.sample() == []
    assert site.sample(LOW) == [("began", "disk_low", "warning")]
    assert site.said == ["notify: command: sent"]
    for _ in range(3):
        assert site.sample(LOW) == [] and site.said == []
    assert site.sample(FULL) == [("worse", "disk_low", "critical")]
    assert site.sample(FULL) == []
    # One sample without it is not its end.
    assert site.sample() == []
    assert site.sample() == [("ended", "disk_low", "critical")]
    assert site.sample() == []


def test_one_sample_makes_one_message_the_worst_first(site: Site) -> None:
    site.sample(LOW)
    site.sample(DOWN, alert())
    (text,) = site.messages(FULL, alert("image_old"), minutes=5)
    assert [(each["change"], each["severity"]) for each in text["alerts"]] == [
        ("worse", "critical"),
        ("began", "warning"),
    ]
    assert text["subject"] == "[kv01] 1 CRITICAL, 1 WARNING: disk_low (/srv) and others"
    (text,) = site.messages(FULL, alert("image_old"))
    assert {each["change"] for each in text["alerts"]} == {"ended"}
    assert text["subject"] == "[kv01] 2 ended: service_down (orthanc) and others"


def test_what_comes_and_goes_is_told_once(site: Site) -> None:
    assert site.sample(LOW) == [("began", "disk_low", "warning")]
    for _ in range(6):
        assert site.sample() == []
        assert site.sample(LOW) == []


def test_what_is_better_and_as_bad_again_is_told_once(site: Site) -> None:
    assert site.sample(FULL) == [("began", "disk_low", "critical")]
    assert site.sample(LOW) == []
    # Another message in between changes nothing about that.
    assert site.sample(LOW, alert()) == [("began", "queue_old", "warning")]
    assert site.sample(FULL, alert()) == []
    site.sample()
    assert ("ended", "disk_low", "critical") in site.sample()


def test_critical_ones_are_told_again_together(site: Site) -> None:
    site.sample(FULL, alert())
    assert site.sample(FULL, DOWN, alert(), minutes=2 * 60) == [
        ("began", "service_down", "critical")
    ]
    assert site.sample(FULL, DOWN, alert(), minutes=119) == []
    again = site.sample(FULL, DOWN, alert(), minutes=1)
    assert sorted(again) == [
        ("lasts", "disk_low", "critical"),
        ("lasts", "service_down", "critical"),
    ]
    assert site.sample(FULL, DOWN, alert(), minutes=239) == []
    assert len(site.sample(FULL, DOWN, alert(), minutes=1)) == 2


def test_nothing_is_told_again_where_that_is_not_wished(tmp_path: Path) -> None:
    site = Site(tmp_path, repeat_hours=0)
    site.sample(FULL)
    assert site.sample(FULL, minutes=60 * 24 * 30) == []


def test_a_way_that_fails_is_an_alert_and_catches_up(site: Site) -> None:
    site.failing(True)
    assert site.sample(LOW) == []
    assert site.said == ["notify: command: failed: the program ended with code 7"]
    assert site.raised() == [
        (
            *("warning", "command"),
            "No message gets through, tried once since 0 s ago: the program ended with code 7.",
        )
    ]
    tried = []
    for number in range(60):
        site.sample(FULL, alert("notify_failed", subject="command"))
        tried += [number + 2] if site.said else []
    # Minutes 10, 15, 30, 65, then each hour.
    assert tried == [2, 3, 6, 13, 25, 37, 49, 61]
    site.failing(False)
    (text,) = [
        each
        for _ in range(13)
        for each in site.messages(FULL, alert("notify_failed", subject="command"))
    ]
    # What got worse meanwhile began for these people, and its own failure is over.
    assert [(each["change"], each["alert"], each["severity"]) for each in text["alerts"]] == [
        ("began", "disk_low", "critical")
    ]
    assert f"From {notify.stamp(NOW + 5 * MINUTE)} on no message got through" in text["text"]
    assert site.raised() == [] and site.seen()["ways"]["command"]["failed"] is None
    assert site.sample(FULL) == []


def test_a_way_that_failed_says_when_it_works_though_all_is_over(site: Site) -> None:
    site.failing(True)
    site.sample(LOW)
    assert site.messages() == site.messages() == []
    site.failing(False)
    (text,) = [each for _ in range(13) for each in site.messages()]
    assert text["subject"] == "[kv01] messages get through again" and text["alerts"] == []


def test_another_way_is_told_of_one_that_fails(site: Site) -> None:
    ways = json.loads(Path(site.places["settings"]).read_text())["ways"]
    site.given(
        4,
        {
            **ways,
            "webhook": {
                "url": "https://127.0.0.1:9",
                "headers": {},
                "ca": "",
                "proxy": "",
                "no_proxy": [],
            },
        },
    )
    site.places["ways"] = ["command", "webhook"]
    assert site.sample(LOW) == [("began", "disk_low", "warning")]
    ((severity, subject, text),) = site.raised()
    assert (severity, subject) == ("warning", "webhook") and "connection refused" in text
    assert site.sample(LOW, alert("notify_failed", subject=subject, text=text)) == [
        ("began", "notify_failed", "warning")
    ]


def test_refused_for_some_is_said_and_not_sent_again(site: Site) -> None:
    way = {"told": {}, "sent": NOW, "failed": notify._failure(None, "partly: 1 of 2", NOW)}
    Path(site.places["state"]).write_text(
        json.dumps({"form": 1, "standing": {}, "ways": {"command": way}})
    )
    assert site.raised() == [("warning", "command", "Not for all: 1 of 2.")]
    assert [site.messages() for _ in range(30)] == [[]] * 30
    assert site.sample(LOW) == [("began", "disk_low", "warning")]
    assert site.raised() == []


def test_maintenance_is_silent_and_what_outlasts_it_is_told(site: Site) -> None:
    site.sample(LOW)
    until = notify.announce(site.places, 60, site.now)
    assert until == site.now + HOUR and site.seen()["maintenance"] == until
    assert site.sample(LOW, DOWN, alert(), minutes=30) == []
    assert site.sample(LOW, DOWN, minutes=29) == []
    (text,) = site.messages(LOW, DOWN, minutes=2)
    (told,) = text["alerts"]  # not what came and went
    assert (told["change"], told["alert"]) == ("began", "service_down")
    assert told["since"] == notify.stamp(NOW + 35 * MINUTE)
    assert site.seen()["maintenance"] is None


def test_what_ended_in_a_maintenance_is_told_after_it(site: Site) -> None:
    site.sample(LOW)
    notify.announce(site.places, 30, site.now)
    assert site.sample() == site.sample() == []
    notify.announce(site.places, 0, site.now)
    assert site.sample() == [("ended", "disk_low", "warning")]


def test_maintenance_of_a_clock_that_ran_ahead_silences_nobody(site: Site) -> None:
    notify.announce(site.places, notify.MOST_MAINTENANCE_MINUTES, NOW + 365 * 24 * HOUR)
    assert site.sample(LOW) == [("began", "disk_low", "warning")]
    with pytest.raises(ValueError, match="accepted: 0 to 20160"):
        notify.announce(site.places, notify.MOST_MAINTENANCE_MINUTES + 1, NOW)


@pytest.mark.parametrize(
    "noted",
    [
        "",
        '{"form": 0, "standing": {}, "ways": {"command": {}}}',
        "{}",
        "[]",
        "null",
        '{"until": "soon"}',
        "\x00",
    ],
)
def test_what_a_power_cut_has_torn_silences_nobody(site: Site, noted: str) -> None:
    Path(site.places["maintenance"]).write_text(noted)
    Path(site.places["state"]).write_text(noted)
    assert site.sample(LOW) == [("began", "disk_low", "warning")]
    assert site.sample(LOW) == []


def test_a_full_disk_is_told_of_once(site: Site) -> None:
    state = Path(site.places["state"])
    # A directory of that name: nothing can be put in its place, as on a disk without space.
    state.mkdir()
    (state / "x").touch()
    assert site.sample(FULL) == [("began", "disk_low", "critical")]
    assert site.sample(FULL) == site.sample(FULL) == []
    (state / "x").unlink()
    state.rmdir()
    assert site.sample(FULL) == []
    assert state.is_file() and not Path(site.places["spare"]).exists()
    assert site.sample(FULL) == []


def test_a_full_disk_keeps_no_sampler_from_telling(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = changed(volumes=[{"mount": "/", "size": 100, "free": 1, "inodes": 0, "inodes_free": 0}])
    monkeypatch.setattr(collect, "state", lambda *_, **__: state)
    settings = {
        **site.settings,
        **{"history": "/proc/none/history.jsonl", "history_days": 1, "limits": LIMITS},
        "metrics_directory": "/proc/none",
    }
    path = site.root / "status.json"
    path.write_text(json.dumps(settings))
    assert cli.main([str(path)]) == 1
    (got,) = site.root.glob("message.*")
    assert "disk_low" in json.loads(got.read_text())["subject"]
    assert "notify: command: sent" in capsys.readouterr().out


def test_nobody_is_told_by_default(site: Site) -> None:
    Path(site.places["settings"]).unlink()
    site.places["ways"] = []
    assert site.sample(FULL) == [] and site.raised() == []
    state = changed(notify=site.seen())
    row = report._notify_rows(state, [])
    assert row == [("messages of alerts", "unknown", "nobody is told: auscat_notify is not set")]


def test_who_is_switched_on_later_is_told_of_what_lasts(site: Site) -> None:
    settings = Path(site.places["settings"])
    text = settings.read_text()
    settings.unlink()
    site.sample(FULL)
    settings.write_text(text)
    assert site.sample(FULL) == [("began", "disk_low", "critical")]


def test_status_shows_maintenance_and_ways(site: Site) -> None:
    site.sample(LOW)
    notify.announce(site.places, 60, site.now)
    state = changed(notify=site.seen(), time=site.now + 120)
    assert report._notify_rows(state, []) == [
        (
            *("maintenance", "ok"),
            f"announced until {notify.stamp(site.now + HOUR)}; no message of alerts is sent before",
        ),
        ("messages of alerts", "ok", "command: last sent 2 min ago"),
    ]
    site.failing(True)
    notify.announce(site.places, 0, site.now)
    site.sample(FULL)
    alerts = rules.evaluate(changed(notify=site.seen(), time=site.now), [], LIMITS)
    (row,) = report._notify_rows(changed(notify=site.seen(), time=site.now), alerts)
    assert row[1] == "warning" and row[2].endswith(", FAILS")


def program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program as an operator's playbook does."""
    return subprocess.run(
        [sys.executable, "-m", "node_status.notify", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PACKAGE.parent), **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_the_command_of_the_operator_sends_a_test(site: Site) -> None:
    path = site.root / "status.json"
    path.write_text(json.dumps(site.settings))
    done = program(str(path), "test-here")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"command": ""}), done.stderr
    (got,) = site.root.glob("message.*")
    text = json.loads(got.read_text())
    assert (text["kind"], text["subject"]) == ("test", "[kv01] a test message")
    site.failing(True)
    done = program(str(path), "test-here")
    assert json.loads(done.stdout) == {"command": "the program ended with code 7"}


def test_a_test_that_arrives_ends_a_failure_for_some(site: Site) -> None:
    way = {"told": {}, "sent": NOW, "failed": notify._failure(None, "partly: 1 of 2", NOW)}
    Path(site.places["state"]).write_text(
        json.dumps({"form": 1, "standing": {}, "ways": {"command": way}})
    )
    assert notify.trial(site.settings, NOW) == {"command": ""}
    assert site.raised() == []


def test_a_test_that_arrives_has_the_rest_sent_at_the_next_sample(site: Site) -> None:
    site.failing(True)
    site.sample(LOW)
    while site.now < NOW + 30 * MINUTE:
        site.sample(LOW)
    site.failing(False)
    assert site.sample(LOW) == []
    notify.trial(site.settings, site.now)
    assert site.sample(LOW) == [("began", "disk_low", "warning")]


def test_the_command_of_the_operator_announces(site: Site) -> None:
    path = site.root / "status.json"
    path.write_text(json.dumps(site.settings))
    done = program(str(path), "maintenance", "90")
    assert done.returncode == 0, done.stderr
    until = json.loads(done.stdout)["until"]
    assert notify.maintenance_until(site.places, until - 60) == until
    done = program(str(path), "maintenance", "0")
    assert json.loads(done.stdout) == {"until": None}
    assert notify.maintenance_until(site.places, until - 60) is None
    for wrong in (["maintenance"], ["maintenance", "20161"], ["maintenance", "x"]):
        assert program(str(path), *wrong).returncode == 1
    assert program(str(path)).returncode == program(str(path), "rest").returncode == 2


MARKS = ("DOE", "JANE", "4711", "1.2.826", "TRIAL-1", "0-1-a", "someone", "hook-5e", "relay-5e")


def test_no_message_and_no_note_holds_what_identifies_anybody(site: Site) -> None:
    """Not what CTP tells, not a pseudonym, not who is logged in, not a secret: all are given."""
    told = {**TOLD, "quarantined": 300, "queued": 300, "reception": "closed: DOE^JANE"}
    told["studies"] = {**told["studies"], "incomplete": 2, "mixed": 1}
    settings = Path(site.places["settings"])
    given = json.loads(settings.read_text())
    given["ways"]["webhook"] = {
        **{"url": "https://127.0.0.1:9/hook-5e", "headers": {"Authorization": "relay-5e"}},
        **{"ca": "", "proxy": "http://a:relay-5e@127.0.0.1:9", "no_proxy": []},
    }
    settings.write_text(json.dumps(given))
    site.places["ways"] = ["command", "webhook"]
    texts = []
    for number in range(3):
        state = changed(
            time=site.now + 300,
            node="kv01",
            environment="production",
            engine="" if number == 2 else "26.1",
            ctp=observe.ctp_figures(told),
            orthanc={"answers": False},
            keydb={"answers": False, "version": "DOE^JANE"},
            holder={"what": "site.yml", "who": "someone", "since": "DOE^JANE"},
            services__ctp__running=0,
            services__orthanc__memory_kills=[NOW],
            services__orthanc__failures=[site.now] * 9,
            backup={"identifiable": {"ok": False, "failed": 1, "error": "DOE^JANE"}},
            proof={"passed": False, "failed": 4, "error": "DOE^JANE"},
            notify=site.seen(),
        )
        alerts = rules.evaluate(state, [], {**LIMITS, "study_mixed_hours": 9999})
        site.now += 300
        before = {*site.root.glob("message.*")}
        site.said = notify.after_sample(site.settings, state, alerts)
        texts += [each.read_text() for each in {*site.root.glob("message.*")} - before]
        texts += [Path(site.places["state"]).read_text(), *site.said]
        texts += [metrics.text(state, alerts, LIMITS)]
    listed = {
        each["alert"] for text in texts if '"kind"' in text for each in json.loads(text)["alerts"]
    }
    # Those that take their words from what a service tells are among them.
    assert listed >= {
        *("service_down", "quarantine_not_empty", "object_held_back", "study_incomplete"),
        *("study_mixed", "reception_closed", "proof_failed", "backup_failed", "notify_failed"),
        *("service_out_of_memory", "service_restarting", "engine_down"),
    }
    assert not [mark for text in texts for mark in MARKS if mark in text]


def test_a_message_takes_of_an_alert_only_what_is_listed(site: Site) -> None:
    site.messages({**LOW, "patient_id": "DOE^JANE", "path": "/srv/auscat/ctp/temp/4711.dcm"})
    texts = [each.read_text() for each in (*site.root.glob("message.*"), site.root / "state.json")]
    assert len(texts) == 2 and all("disk_low" in text for text in texts)
    assert not [mark for text in texts for mark in ("DOE", "4711", "patient_id") if mark in text]


def test_nobody_but_root_reads_what_is_kept(site: Site) -> None:
    site.sample(FULL)
    for name in ("state", "lock"):
        assert stat.S_IMODE(Path(site.places[name]).stat().st_mode) == 0o600
