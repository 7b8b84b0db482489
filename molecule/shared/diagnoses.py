"""What troubleshoot.yml says of the faults of shared/known_faults.py, and where that is kept.

Of `RECORD` tools/faults_table.py makes the table of docs/troubleshooting.md;
tests/quality/test_faults.py holds the list, the record and the page together.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from shared.known_faults import FAULTS, Fault, Site, of
from shared.machines import REPOSITORY, Outcome, Scenario

sys.path.append(str(REPOSITORY))
from tools import faults_table

RECORD = REPOSITORY / "molecule" / "shared" / "known_faults.json"
"""What the first line said, by the name of the fault; absent until a scenario has run."""


def diagnosis(outcome: Outcome) -> str:
    """What the operator reads at the end; the exit code has to agree."""
    assert outcome.returncode in (0, 2), outcome.errors
    (text,) = [r["msg"] for name, r in outcome.results if name.endswith(": Show the diagnosis")]
    nothing = "Diagnosis: nothing wrong found." in str(text)
    assert outcome.returncode == (0 if nothing else 2), "its exit code tells whether it found one"
    return str(text)


def look(scenario: Scenario, scratch: Path, *arguments: str, **extra: Any) -> str:
    """Run troubleshoot.yml; return its diagnosis alone, without line breaks."""
    # Only what this test did: an earlier one's refusals are not its business.
    extra = {"troubleshoot_since": "45s", "troubleshoot_phantom": False, **extra}
    extra["troubleshoot_bundle_directory"] = str(scratch)
    outcome = scenario.play("playbooks/troubleshoot.yml", *arguments, extra=extra)
    text = diagnosis(outcome)
    assert outcome.changed == 0, outcome.changed_tasks
    print(text)
    said = " ".join(text[text.index("Diagnosis") :].split())
    if outcome.returncode:
        assert f"to fix first: {first_line(said)}" in outcome.errors, outcome.errors
    return said


def first_line(said: str) -> str:
    """The first finding of a diagnosis, without its number and remedy; empty for none."""
    found = re.search(r" 1\. (.*?) -> ", said)
    return found[1] if found else ""


def tried(fault: Fault, site: Site) -> str:
    """Cause a fault, look, undo it; return what the first line said of it."""
    with fault.happens(site) as asked:
        said = look(site.scenario, site.scratch, *asked.arguments, **asked.extra)
    first = first_line(said)
    assert re.match(fault.first, first), said
    for text in fault.says:
        assert text in said, text
    for text in asked.secret:
        assert text not in said, "it says what it must not"
    assert not fault.alone or " 2. " not in said, "what follows from it is no fault of its own"
    return first


def recorded() -> dict[str, str]:
    """What the first line said, by the name of the fault, as the scenarios wrote it."""
    try:
        found: dict[str, str] = json.loads(RECORD.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found


def merged(before: Mapping[str, str], rows: Mapping[str, str]) -> dict[str, str]:
    """The record with new rows, in the order of the list and without faults that left it.

    A line that differs in numbers alone (times, counts, what is left of a disk) stays as it was.
    """

    def plain(text: str) -> str:
        return re.sub(r"\d+", "0", text)

    found = {**before, **rows}
    for name, first in before.items():
        if plain(first) == plain(found[name]):
            found[name] = first
    return {each.name: found[each.name] for each in FAULTS if each.name in found}


def record(scenario: str, rows: Mapping[str, str]) -> None:
    """Write what the faults of a scenario gave, and the table of the page.

    Raises:
        ValueError: not all were tried.
    """
    missing = missing_of(scenario, rows)
    if missing:
        raise ValueError(f"not tried: {', '.join(missing)}")
    place = os.open(RECORD.parent, os.O_RDONLY)
    try:
        # Scenarios run side by side.
        fcntl.flock(place, fcntl.LOCK_EX)
        said = merged(recorded(), rows)
        text = json.dumps(said, indent=2, ensure_ascii=False)
        RECORD.write_text(text + "\n", encoding="utf-8")
        before = faults_table.PAGE.read_text(encoding="utf-8")
        faults_table.PAGE.write_text(faults_table.page(before, FAULTS, said), encoding="utf-8")
    finally:
        os.close(place)


def missing_of(scenario: str, rows: Collection[str]) -> list[str]:
    """The faults of a scenario that are not among these."""
    return [each.name for each in of(scenario) if each.name not in rows]
