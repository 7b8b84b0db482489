"""Tell people of alerts: when one begins, gets worse and ends, and not at each sample.

What each way (`ways`) was told is kept beside the samples and compared with what is raised, so a
way that was away, or a maintenance, leaves nothing to be caught up with but the difference.

``python3 -m node_status.notify SETTINGS test`` sends a message by each way;
``… maintenance MINUTES`` announces one, and 0 ends it. SETTINGS: the path of status.json.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from . import rules, samples
from .command import PATH, systemd
from .ways import PARTLY

WAY_SECONDS = 40.0
"""Within these, a way has sent its message or failed."""
RETRY_SECONDS, MOST_RETRY_SECONDS = 300.0, 3600.0
ABSENT = 2
"""An alert has ended when so many samples in turn do not have it, so that one which comes and goes
sends no two messages each time."""
FORM = 1
"""Of what is kept. That of another version is not read, rather than nobody told for ever."""
MOST_MAINTENANCE_MINUTES = 14 * 24 * 60
ENVIRONMENT = {
    "PATH": PATH,
    "LC_ALL": "C.UTF-8",
    "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
    "PYTHONDONTWRITEBYTECODE": "1",
}
TOLD = ("alert", "severity", "subject", "text", "next")
SANDBOX = ("NoNewPrivileges=yes", "ProtectHome=yes", "PrivateTmp=yes")
"""As auscat-status.service has them: a test that could do more would prove nothing."""

Alerts = dict[str, dict[str, Any]]


def standing(before: Mapping[str, Any], alerts: Iterable[Mapping[str, Any]], now: float) -> Alerts:
    """Return what is raised after a sample, by alert and subject.

    Args:
        before: the same after the sample before.
        alerts: of this sample, the most urgent first.
        now: seconds since 1970.

    Returns:
        Each alert with ``since`` (seconds since 1970) and ``absent``, the samples in turn that do
        not have it any more; gone with the `ABSENT` th of them.
    """
    found: Alerts = {}
    for each in alerts:
        key = f"{each['alert']} {each['subject']}"
        since = (before.get(key) or {}).get("since", now)
        found.setdefault(
            key, {**{name: each[name] for name in TOLD}, "since": min(since, now), "absent": 0}
        )
    for key, each in before.items():
        if key not in found and each["absent"] + 1 < ABSENT:
            found[key] = {**each, "absent": each["absent"] + 1}
    return found


def changes(
    raised: Alerts, told: Mapping[str, Any], now: float, repeat_hours: float
) -> list[dict[str, Any]]:
    """Return what a way has to be told: alerts, each with its ``change``, the worst first.

    Args:
        raised: as `standing` returns it.
        told: what this way was told, as `told_of` returns it.
        now: seconds since 1970.
        repeat_hours: after how many hours critical ones are told again; 0 for never.
    """
    found = []
    for key, each in raised.items():
        known = told.get(key)
        if known is None:
            # One that this sample has no more may be over before anybody reads of it.
            if not each["absent"]:
                found.append({**each, "change": "began"})
        elif rules.SEVERITIES.index(each["severity"]) < rules.SEVERITIES.index(known["severity"]):
            found.append({**each, "change": "worse"})
    found += [
        {**each, "change": "ended", "next": ""} for key, each in told.items() if key not in raised
    ]
    critical = {
        key: each
        for key, each in raised.items()
        if each["severity"] == rules.CRITICAL and not each["absent"]
    }
    times = [told[key]["at"] for key in critical if key in told]
    # All of them at once, so that their times come together.
    if repeat_hours and any(not 0 <= now - at < repeat_hours * rules.HOUR for at in times):
        said = {(each["alert"], each["subject"]) for each in found}
        found += [
            {**each, "change": "lasts"}
            for each in critical.values()
            if (each["alert"], each["subject"]) not in said
        ]
    order = ("began", "worse", "lasts", "ended")
    return sorted(
        found,
        key=lambda each: (
            each["change"] == "ended",
            rules.SEVERITIES.index(each["severity"]),
            order.index(each["change"]),
        ),
    )


def told_of(
    raised: Alerts, told: Mapping[str, Any], said: Iterable[Mapping[str, Any]], now: float
) -> dict[str, Any]:
    """Return what a way has been told when it has got these changes.

    What got better meanwhile stays as it was told, so that people are not told a second time when
    it is as bad again.
    """
    listed = {f"{each['alert']} {each['subject']}" for each in said}
    return {
        key: {**each, "at": now} if key in listed else told[key]
        for key, each in raised.items()
        if key in listed or key in told
    }


def message(
    node: str, environment: str, now: float, said: Iterable[Mapping[str, Any]], failed_since: Any
) -> dict[str, Any]:
    """Return the message for people and programs: of counts, ages and words of this project.

    Args:
        node: name of the machine in the inventory.
        environment: production or simulation.
        now: seconds since 1970.
        said: as `changes` returns them.
        failed_since: since when this way did not work (seconds since 1970); None where it did.
    """
    alerts = [
        {**{name: each[name] for name in ("change", *TOLD)}, "since": stamp(each["since"])}
        for each in said
    ]
    lines = []
    for each in alerts:
        word = "ended" if each["change"] == "ended" else each["severity"].upper()
        how = {"began": "", "worse": "it got worse; ", "lasts": "it lasts; ", "ended": ""}
        lines += [
            f"{word}  {each['alert']} ({each['subject']})",
            f"    {each['text']}" if each["change"] != "ended" else f"    It was: {each['text']}",
            f"    {how[each['change']]}since {each['since']}",
        ]
        lines += [f"    -> {each['next']}"] if each["next"] else []
        lines.append("")
    if failed_since is not None:
        lines += [
            f"From {stamp(failed_since)} on no message got through by this way. What began and "
            "ended in between is not listed.",
            "",
        ]
    lines += [
        f"{node} sends this itself, so when it is off it sends nothing. All machines:",
        "ansible-playbook -i INVENTORY playbooks/status.yml",
    ]
    return {
        "kind": "alerts",
        **_head(node, environment, now, _summary(alerts, failed_since is not None)),
        "alerts": alerts,
        "text": "\n".join(lines) + "\n",
    }


def trial_message(node: str, environment: str, now: float) -> dict[str, Any]:
    """Return the message that an operator has sent to see whether it arrives."""
    return {
        "kind": "test",
        **_head(node, environment, now, "a test message"),
        "alerts": [],
        "text": f"Nothing is wrong. Somebody tries whether the alerts of {node} arrive here.\n",
    }


def _head(node: str, environment: str, now: float, summary: str) -> dict[str, Any]:
    simulated = " (simulation)" if environment == "simulation" else ""
    return {
        "node": node,
        "environment": environment,
        "time": stamp(now),
        # A header of mail, so one line.
        "subject": " ".join(f"[{node}{simulated}] {summary}".split()),
    }


def _summary(alerts: list[dict[str, Any]], worked_not: bool) -> str:
    open_ones = [each for each in alerts if each["change"] != "ended"]
    ended = [each for each in alerts if each["change"] == "ended"]
    if not alerts:
        return "messages get through again" if worked_not else "nothing"
    if len(alerts) == 1:
        (each,) = alerts
        word = "ended" if ended else each["severity"].upper()
        return f"{word}: {each['alert']} ({each['subject']})"
    told = []
    for severity in rules.SEVERITIES:
        count = sum(each["severity"] == severity for each in open_ones)
        if count:
            told.append(f"{count} {severity.upper()}")
    told += [f"{len(ended)} ended"] if ended else []
    first = (open_ones or ended)[0]
    return f"{', '.join(told)}: {first['alert']} ({first['subject']}) and others"


def stamp(seconds: float) -> str:
    """Return a time in UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def is_due(failed: Mapping[str, Any] | None, now: float) -> bool:
    """Tell whether a way that failed is tried again: at the next sample, then ever more seldom."""
    if not failed:
        return True
    wait = min(RETRY_SECONDS * (2 ** min(failed["tries"] - 1, 10) - 1), MOST_RETRY_SECONDS)
    return not 0 <= now - failed["at"] < wait


def send(asked: Mapping[str, tuple[Any, Mapping[str, Any]]]) -> dict[str, str]:
    """Send a message by each way, all at once, and return why that failed; empty for success.

    Args:
        asked: settings and message by way.
    """
    if not asked:
        return {}
    with ThreadPoolExecutor(len(asked)) as pool:
        sent = {name: pool.submit(_send, name, *each) for name, each in asked.items()}
        return {name: each.result() for name, each in sent.items()}


def _send(name: str, settings: Mapping[str, Any], text: Mapping[str, Any]) -> str:
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "node_status.ways"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            env=ENVIRONMENT,
            start_new_session=True,
        )
    except OSError as error:
        return f"it cannot be started ({error.strerror})"
    asked = json.dumps({"way": name, "settings": settings, "message": text})
    try:
        said, _ = process.communicate(asked, timeout=WAY_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"no end within {WAY_SECONDS:.0f} s"
    if process.returncode:
        return (said.splitlines() or ["it ended without a word"])[0][:200]
    return ""


def after_sample(
    settings: Mapping[str, Any], state: Mapping[str, Any], alerts: Iterable[Mapping[str, Any]]
) -> list[str]:
    """Send what a sample has changed, and return what there is to log, a line for each way.

    Args:
        settings: of status.json.
        state: as `collect.state` returns it.
        alerts: as `rules.evaluate` returns them.

    Raises:
        OSError: what was told cannot be noted.
        ValueError: the settings cannot be read.
    """
    places, now = settings["notify"], state["time"]
    given = _given(places)
    with _kept(places) as kept:
        kept["standing"] = raised = standing(kept["standing"], alerts, now)
        # A way that was taken away, and comes back, is told of everything.
        kept["ways"] = {
            name: kept["ways"].get(name) or {"told": {}, "sent": None, "failed": None}
            for name in given["ways"]
        }
        if maintenance_until(places, now) is not None:
            return []
        said, asked = {}, {}
        for name, way in kept["ways"].items():
            # Of its own failure it tells when it works again.
            here = {key: each for key, each in raised.items() if key != f"notify_failed {name}"}
            said[name] = changes(here, way["told"], now, given["repeat_hours"])
            failed = _to_try_again(way)
            if is_due(failed, now) and (said[name] or failed):
                asked[name] = (
                    given["ways"][name],
                    message(
                        *(state["node"], state["environment"], now, said[name]),
                        failed["since"] if failed else None,
                    ),
                )
        outcome = send(asked)
        for name, why in outcome.items():
            way = kept["ways"][name]
            if not why or why.startswith(PARTLY):
                way["told"] = told_of(raised, way["told"], said[name], now)
                way["sent"] = now
            way["failed"] = _failure(way["failed"], why, now)
    return [
        f"notify: {name}: {f'failed: {why}' if why else 'sent'}" for name, why in outcome.items()
    ]


def _to_try_again(way: Mapping[str, Any]) -> Any:
    """Return the failure of a way whose message is still to be sent, or None."""
    failed = way["failed"]
    return failed if failed and not failed["partly"] else None


def _failure(before: Any, why: str, now: float) -> dict[str, Any] | None:
    if not why:
        return None
    return {
        "since": before["since"] if before else now,
        "tries": (before["tries"] if before else 0) + 1,
        "at": now,
        "partly": why.startswith(PARTLY),
        "why": why.removeprefix(PARTLY),
    }


def trial(settings: Mapping[str, Any], now: float) -> dict[str, str]:
    """Send a message by each way, and return why that failed; empty for success.

    Raises:
        OSError: what was told cannot be noted.
        ValueError: the settings cannot be read.
    """
    places = settings["notify"]
    given = _given(places)
    text = trial_message(settings["node"], settings["environment"], now)
    outcome = send({name: (way, text) for name, way in given["ways"].items()})
    with _kept(places) as kept:
        for name, why in outcome.items():
            way = kept["ways"].get(name)
            # What failed before is due at the next sample.
            if way and way["failed"] and not why:
                way["failed"] = {**way["failed"], "tries": 1} if _to_try_again(way) else None
    return outcome


def _given(places: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ways that the role status has installed, with what is secret of them."""
    try:
        found: dict[str, Any] = json.loads(Path(places["settings"]).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"ways": {}, "repeat_hours": 0}
    return found


@contextmanager
def _kept(places: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give what was told so far, alone, and keep what becomes of it."""
    with Path(places["lock"]).open("w", encoding="utf-8") as lock:
        os.fchmod(lock.fileno(), 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = _read(places)
        yield kept
        text = json.dumps(kept, indent=1) + "\n"
        spare = Path(places["spare"])
        try:
            samples.write(Path(places["state"]), text)
            spare.unlink(missing_ok=True)
        except OSError:
            # A full disk is what people are told of, and once is enough. This one is in memory.
            samples.write(spare, text)


def _read(places: Mapping[str, Any]) -> dict[str, Any]:
    for name in ("spare", "state"):
        try:
            found = json.loads(Path(places[name]).read_text(encoding="utf-8"))
            if found["form"] == FORM:
                return dict(found)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # what a power cut has torn: everything that is raised is told again
    return {"form": FORM, "standing": {}, "ways": {}}


def maintenance_until(places: Mapping[str, Any], now: float) -> float | None:
    """Return until when messages wait (seconds since 1970); None where no maintenance is on."""
    try:
        noted = json.loads(Path(places["maintenance"]).read_text(encoding="utf-8"))
        until = float(noted["until"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # Longer than anybody could announce: the clock ran ahead then, or is behind now.
    longest = now + MOST_MAINTENANCE_MINUTES * rules.MINUTE + rules.CLOCKS_DIFFER
    return until if now < until <= longest else None


def announce(places: Mapping[str, Any], minutes: float, now: float) -> float | None:
    """Note a maintenance of so many minutes from now on, 0 for its end; return until when it lasts.

    Raises:
        OSError: it cannot be noted.
        ValueError: nobody may announce one for so long.
    """
    path = Path(places["maintenance"])
    if not 0 <= minutes <= MOST_MAINTENANCE_MINUTES:
        raise ValueError(f"{minutes:g} minutes; accepted: 0 to {MOST_MAINTENANCE_MINUTES}")
    if not minutes:
        path.unlink(missing_ok=True)
        return None
    until = now + minutes * rules.MINUTE
    samples.write(path, json.dumps({"until": until}) + "\n")
    return until


def seen(places: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return how it stands: ``ways`` with when each last sent, and its failure; ``maintenance``."""
    kept = _read(places)
    nothing = {"sent": None, "failed": None}
    return {
        "ways": {
            name: {key: (kept["ways"].get(name) or nothing).get(key) for key in nothing}
            for name in places["ways"]
        },
        "maintenance": maintenance_until(places, now),
    }


def main(arguments: list[str]) -> int:
    """Run; print the outcome as JSON, and return the exit status."""
    if len(arguments) not in (2, 3) or arguments[1] not in ("test", "test-here", "maintenance"):
        print("usage: SETTINGS test | SETTINGS maintenance MINUTES", file=sys.stderr)
        return 2
    if arguments[1] == "test" and systemd():
        # By what the timer's own service may do.
        return subprocess.run(
            [
                *("systemd-run", "--quiet", "--wait", "--pipe", "--collect"),
                *(f"--property={each}" for each in SANDBOX),
                *(f"--setenv={name}={value}" for name, value in ENVIRONMENT.items()),
                *(sys.executable, "-m", "node_status.notify", arguments[0], "test-here"),
            ],
            check=False,
        ).returncode
    try:
        settings = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        found: Any = (
            {"until": announce(settings["notify"], float(arguments[2]), time.time())}
            if arguments[1] == "maintenance"
            else trial(settings, time.time())
        )
    except (OSError, ValueError, KeyError, IndexError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
