"""What an operator asked the machines' program for alerts to do, and what became of it.

Pure: what Ansible registered for each machine goes in, lines come out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import notify
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status.ways import PARTLY
from ansible_collections.auscat.imaging.plugins.module_utils.status.report import stamp

MINUTES = {"m": 1, "h": 60, "d": 24 * 60}
ACCEPTED = "Accepted: a time from now on, such as 90m, 2h or 3d, 14 days at most, or end."
DEPLOY = "Run site.yml --tags status first, which installs the program that sends."

Report = dict[str, list[str]]


def maintenance_minutes(text: Any) -> int:
    """Return for how many minutes a maintenance is announced; 0 for its end.

    Args:
        text: such as 90m, 2h, 3d or end.

    Raises:
        ValueError: it is none of these, or too long.
    """
    if str(text) == "end":
        return 0
    found = re.fullmatch(r"([0-9]{1,5})([mhd])", str(text))
    minutes = int(found[1]) * MINUTES[found[2]] if found else 0
    if not 1 <= minutes <= notify.MOST_MAINTENANCE_MINUTES:
        raise ValueError(
            f"maintenance is {str(text)!r}. {ACCEPTED} Give it: -e maintenance=2h. Nothing was "
            "announced."
        )
    return minutes


def maintenance_report(results: Mapping[str, Mapping[str, Any]]) -> Report:
    """Return until when each machine sends no message.

    Args:
        results: what the task registered, by machine; empty for one that could not be reached.

    Returns:
        ``done`` and ``failed``, lines for people.
    """
    report: Report = {"done": [], "failed": []}
    for name, result in results.items():
        said = _said(name, result, report)
        if said is not None:
            until = said["until"]
            report["done"].append(
                f"{name}: no messages of alerts until {stamp(until)}"
                if until
                else f"{name}: no maintenance is announced; messages are sent as always"
            )
    return report


def notify_report(results: Mapping[str, Mapping[str, Any]]) -> Report:
    """Return by which ways a test message was sent, and why not by the others.

    Args:
        results: as for `maintenance_report`.

    Returns:
        ``done`` and ``failed``, lines for people.
    """
    report: Report = {"done": [], "failed": []}
    for name, result in results.items():
        said = _said(name, result, report)
        if said == {}:
            report["failed"].append(
                f"{name}: nobody is told of alerts there. Set auscat_notify (docs/status.md), and "
                "run site.yml --tags status."
            )
        for way, why in (said or {}).items():
            if why.startswith(PARTLY):
                some = why.removeprefix(PARTLY)
                report["failed"].append(
                    f"{name}: a test message was sent, {way}, not to all: {some}"
                )
            elif why:
                report["failed"].append(
                    f"{name}: the test message did not get through, {way}: {why}"
                )
            else:
                report["done"].append(f"{name}: a test message was sent, {way}")
    return report


def _said(name: str, result: Mapping[str, Any], report: Report) -> Any:
    """Return what the program of a machine printed; None where there is nothing, which is noted."""
    if result.get("unreachable") or not result:
        report["failed"].append(f"{name}: the machine cannot be reached.")
    elif result.get("skipped"):
        report["done"].append(f"{name}: nothing was done in check mode")
    elif result.get("rc") != 0:
        report["failed"].append(f"{name}: its program did not do that. {DEPLOY}")
    else:
        return json.loads(result["stdout"])
    return None
