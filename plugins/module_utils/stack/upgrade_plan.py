"""What an upgrade would change, version by version, and what forbids it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.host.tables import counted, table

#: Prints a line "program version" for each program that it knows and finds; runs in an image.
PROBE = r"""
say() { [ -z "$2" ] || printf '%s %s\n' "$1" "$2"; }
first() { command -v "$1" >/dev/null && "$@" 2>&1 | sed -n 1p; }
python() { PYTHONPATH=/opt/ctp python3 -c "$1" 2>/dev/null; }
say Orthanc "$(first Orthanc --version | sed 's/^Orthanc //')"
say PostgreSQL "$(first postgres --version | sed 's/.*) \([0-9]\)/\1/; s/ .*//')"
say CTP "$(python '
import zipfile
text = zipfile.ZipFile("/opt/ctp/libraries/CTP.jar").read("META-INF/MANIFEST.MF").decode()
print(*(line[6:].strip() for line in text.splitlines() if line.startswith("Date: ")))
')"
say stand-in "$(python 'import ctp_standin as program; print(program.__version__)')"
say supervisor "$(python 'import ctp_supervisor as program; print(program.__version__)')"
say Java "$(first java -version | sed 's/.*"\(.*\)".*/\1/')"
if [ -r /etc/os-release ]; then
    . /etc/os-release
    say "${ID:-system}" "$(cat /etc/debian_version 2>/dev/null || echo "${VERSION_ID:-}")"
fi
:
"""


def versions(printed: str, label: str = "") -> dict[str, str]:
    """Return program to version from what `PROBE` printed and the image's own version label."""
    found = dict(line.split(" ", 1) for line in printed.splitlines() if " " in line)
    return {**found, **({"label": label} if label else {})}


def version_text(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return one line a program: ``Orthanc 1.12.7 -> 1.12.8``, or one version where it stays."""
    lines = []
    for name in [*before, *(each for each in after if each not in before)]:
        old, new = before.get(name, "none"), after.get(name, "none")
        lines.append(f"{name} {old}" if old == new else f"{name} {old} -> {new}")
    return lines


def database_problem(service: str, data_version: str, wanted: Mapping[str, str]) -> str:
    """Return why the wanted PostgreSQL cannot run on the data there are; empty: it can."""
    match = re.match(r"\d+", wanted.get("PostgreSQL", ""))
    if not data_version or match is None or match[0] == data_version:
        return ""
    return (
        f"{service}: its data were made by PostgreSQL {data_version}, and the wanted image has "
        f"PostgreSQL {match[0]}, which does not read them. Set {service}_image to the image that "
        f"runs now, or to another with PostgreSQL {data_version}. To change over, dump the "
        "database and load it into an empty directory (docs/upgrade.md, Another PostgreSQL)."
    )


def size_text(copy: Mapping[str, Any]) -> str:
    """Return in words what will be copied."""
    linked = f", {counted(copy['linked'], 'file')} linked" if copy["linked"] else ""
    return f"{_mib(copy['copied'])} copied{linked} to {copy['path']} ({_mib(copy['free'])} free)"


def _mib(size: int) -> str:
    return f"{size / 1024**2:.0f} MiB"


def upgrade_report(host: str, plan: Mapping[str, Any]) -> str:
    """Return the text on one host: what runs, what is wanted, what differs, what is copied.

    Args:
        host: its name in the inventory.
        plan: what the module upgrade_plan returned.
    """
    rows: list[Sequence[object]] = []
    for service in plan["services"]:
        running, wanted = service["running"], service["wanted"]
        lines: list[tuple[str, str]] = []
        if wanted and running and wanted["image"] == running["image"]:
            lines.append(("image", f"{running['image']} ({running['id']})"))
        else:
            lines.append(("runs", _image(running)))
            lines.append(("wanted", _image(wanted)))
        before = running["versions"] if running else {}
        after = wanted["versions"] if wanted else {}
        if wanted and not wanted["id"]:
            after = before
        lines += [("version", line) for line in version_text(before, after)]
        lines += [("changes", line) for line in service["changes"]]
        if service["copy"]:
            lines.append(("data", size_text(service["copy"])))
        if service["action"] == "stays":
            lines = lines[:1]
        head: tuple[str, str] = (service["name"], service["action"])
        for what, text in lines:
            rows.append((*head, service["health"] if head[0] else "", what, text))
            head = ("", "")
    title = f"Upgrade of {host}"
    return "\n".join([title, "", *table(["service", "", "health", "", ""], rows), "", *_end(plan)])


def _image(image: Mapping[str, Any] | None) -> str:
    if not image:
        return "nothing"
    return (
        f"{image['image']} ({image['id'] or 'not on this machine yet: its version is not known'})"
    )


def _end(plan: Mapping[str, Any]) -> Iterable[str]:
    yield f"Proof that ran last: {plan['proof']}"
    for problem in plan["problems"]:
        yield f"REFUSED: {problem}"
    changed = [each["name"] for each in plan["services"] if each["action"] != "stays"]
    if changed:
        yield f"In this order, each until it is healthy: {', '.join(changed)}"
    else:
        yield "Nothing is to be changed."
