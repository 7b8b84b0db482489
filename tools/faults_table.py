#!/usr/bin/env python3
"""Write the table of docs/troubleshooting.md: fault, and what the first line of the diagnosis said.

The list of faults is molecule/shared/known_faults.py; what was said stands in known_faults.json
beside it, where the scenarios write it that cause them. Without that file there is no table.

Usage::

    faults_table.py            write it, and say which rows are missing
    faults_table.py --check    exit with 1 when it is not what would be written, or a row is missing
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "troubleshooting.md"
sys.path.insert(0, str(REPOSITORY / "molecule"))

if TYPE_CHECKING:
    from shared.known_faults import Fault

BEGIN = "<!-- Written by tools/faults_table.py from what the scenarios noted. Do not edit. -->"
END = "<!-- end of faults -->"
BEFORE = "## It changes nothing"
"""The heading that the table's section stands in front of."""
SECTION = """## What was tried

Each of these faults was caused on a machine of the tests, and undone. This is what the first line
said of it; the exit code was 2 each time.

"""


def table(faults: Sequence[Fault], said: Mapping[str, str]) -> str:
    """Return the rows of those faults of which is known what was said."""
    rows = [(each.title, said[each.name]) for each in faults if each.name in said]
    lines = ["| Fault | Scenario | The first line |", "| --- | --- | --- |"]
    scenarios = {each.title: each.scenario for each in faults}
    lines += [
        f"| {title} | `{scenarios[title]}` | {first.replace('|', chr(92) + '|')} |"
        for title, first in rows
    ]
    return "\n".join(lines)


def page(text: str, faults: Sequence[Fault], said: Mapping[str, str]) -> str:
    """Return the page with the table; without one, where nothing is known.

    Raises:
        ValueError: the page has no place for it.
    """
    old = re.compile(
        f"{re.escape(SECTION)}{re.escape(BEGIN)}.*?{re.escape(END)}\n\n", flags=re.DOTALL
    )
    plain = old.sub("", text)
    if plain.count(f"\n{BEFORE}\n") != 1 or BEGIN in plain:
        raise ValueError(f"{PAGE.name} has no heading {BEFORE!r}, or a table without its section")
    if not said:
        return plain
    section = f"{SECTION}{BEGIN}\n{table(faults, said)}\n{END}\n\n"
    return plain.replace(f"\n{BEFORE}\n", f"\n{section}{BEFORE}\n")


def problems(faults: Sequence[Fault], said: Mapping[str, str]) -> list[str]:
    """Return what does not agree between the list and what was said.

    Of a scenario that has noted anything, each fault of the list has to be there.
    """
    ran = {each.scenario for each in faults if each.name in said}
    found = [
        f"{each.name} has no row: run molecule test -s {each.scenario}"
        for each in faults
        if each.name not in said and each.scenario in ran
    ]
    names = {each.name for each in faults}
    found += [f"{name} is in the record and not in the list" for name in said if name not in names]
    found += [
        f"{each.name}: the first line names another cause: {said[each.name]}"
        for each in faults
        if each.name in said and not re.match(each.first, said[each.name])
    ]
    return found


def main() -> int:
    """Write or check; return the exit code."""
    from shared.diagnoses import recorded
    from shared.known_faults import FAULTS

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    said, text = recorded(), PAGE.read_text(encoding="utf-8")
    wrong = problems(FAULTS, said)
    new = page(text, FAULTS, said)
    if check and new != text:
        wrong.append("docs/troubleshooting.md is not current. Run: tools/faults_table.py")
    elif not check:
        PAGE.write_text(new, encoding="utf-8")
    for each in wrong:
        print(each, file=sys.stderr)
    return 1 if wrong and check else 0


if __name__ == "__main__":
    sys.exit(main())
