#!/usr/bin/env python3
"""Write into each role's meta/main.yml, for Galaxy, which distributions the preflight accepts.

``preflight_distributions`` (roles/preflight/defaults/main.yml) is the one list.

Usage::

    distributions.py            write roles/*/meta/main.yml
    distributions.py --check    exit with 1 when one of them is not what would be written
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
GALAXY = {
    "debian 12": ("Debian", "bookworm"),
    "debian 13": ("Debian", "trixie"),
    "ubuntu 22.04": ("Ubuntu", "jammy"),
    "ubuntu 24.04": ("Ubuntu", "noble"),
}
"""What Galaxy calls a distribution: its name, and that of its release."""
PLATFORMS = re.compile(r"^  platforms:\n(?: {4}.*\n)+", re.MULTILINE)


def releases() -> dict[str, list[str]]:
    """Return the releases that the preflight accepts, by distribution, as Galaxy calls them."""
    defaults = yaml.safe_load((REPOSITORY / "roles/preflight/defaults/main.yml").read_text())
    found: dict[str, list[str]] = {}
    for each in defaults["preflight_distributions"]:
        name, release = GALAXY[each]
        found.setdefault(name, []).append(release)
    return found


def platforms() -> str:
    """Return the block of a role's meta/main.yml."""
    lines = ["  platforms:\n"]
    for name, versions in releases().items():
        lines += [f"    - name: {name}\n", f"      versions: [{', '.join(versions)}]\n"]
    return "".join(lines)


def main(arguments: list[str]) -> int:
    """Run; return the exit status."""
    differing = []
    for path in sorted(REPOSITORY.glob("roles/*/meta/main.yml")):
        before = path.read_text()
        after = PLATFORMS.sub(platforms(), before, count=1)
        if platforms() not in after:
            print(f"{path} has no list of platforms to replace", file=sys.stderr)
            return 1
        if after != before:
            differing.append(path)
            if "--check" not in arguments:
                path.write_text(after)
    if differing and "--check" in arguments:
        names = ", ".join(path.parts[-3] for path in differing)
        print(
            f"Not current: meta/main.yml of {names}. Run: tools/distributions.py", file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
