"""What was proved, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.host.tables import counted, table


def proof_report(checks: Sequence[Mapping[str, Any]], last_line: str = "") -> str:
    """Return the text on the proof: every check with its result, then a last line.

    Args:
        checks: rows of the proof's modules: check, expected, found, passed.
        last_line: a sentence below the table.
    """
    if not checks:
        lines = ["Proof: not run (check mode, --limit, other tags, or verify_enabled: false)."]
        return "\n".join([*lines, "", last_line])
    failed = sum(1 for check in checks if not check["passed"])
    verdict = (
        f"{failed} of {counted(len(checks), 'check')} FAILED"
        if failed
        else f"{'all ' if len(checks) > 1 else ''}{counted(len(checks), 'check')} passed"
    )
    lines = [f"Proof: {verdict}", ""]
    lines += table(
        ["", "where", "check", "detail"],
        [
            (
                "ok" if check["passed"] else "FAILED",
                check["where"],
                check["check"],
                check.get("detail", ""),
            )
            for check in checks
        ],
    )
    return "\n".join([*lines, "", last_line])
