"""The closing table: what runs where, who may reach it, where the data lies, what was proved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return an aligned text table, one line a row, under its header and a rule."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [
        max(len(row[column]) for row in [list(header), *cells]) for column in range(len(header))
    ]

    def line(row: Sequence[str]) -> str:
        return "  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip()

    return [line(header), "  ".join("-" * width for width in widths), *map(line, cells)]


def senders(sources: Sequence[str]) -> str:
    """Return in words who may connect to a port."""
    return ", ".join(["this machine", *sources]) if sources else "this machine only"


def node_report(
    host: str,
    services: Iterable[Mapping[str, Any]],
    ports: Iterable[Mapping[str, Any]],
    directories: Iterable[Mapping[str, Any]],
    address: str,
) -> str:
    """Return the text on one host.

    Args:
        host: its name in the inventory.
        services: name, image, health as the module swarm_stack returns them.
        ports: as `definitions.published_ports` returns them.
        directories: as `definitions.host_directories` returns them.
        address: where a browser or a DICOM sender reaches the host.
    """
    lines = [f"Services on {host}", ""]
    lines += table(
        ["service", "health", "image"],
        [(service["name"], service["health"], service["image"]) for service in services],
    )
    lines += ["", f"Published ports of {host} ({address})", ""]
    lines += table(
        ["port", "service", "purpose", "who may connect", "address"],
        [
            (
                f"{port['published']}/{port['protocol']}",
                port["service"],
                port["purpose"],
                senders(port["sources"]),
                f"{port['scheme'] or port['protocol']}://{_bracketed(address)}:{port['published']}",
            )
            for port in ports
        ],
    )
    lines += ["", f"Data on {host}", ""]
    lines += table(
        ["service", "directory", "owner", "mode"],
        [
            (
                directory["service"],
                directory["path"],
                f"{directory['owner']}:{directory['group']}",
                directory["mode"],
            )
            for directory in directories
        ],
    )
    return "\n".join(lines)


def proof_report(checks: Sequence[Mapping[str, Any]], last_line: str = "") -> str:
    """Return the text on the proof: every check with its result, then a last line."""
    if not checks:
        lines = ["Proof: not run (check mode, other tags, or verify_enabled: false)."]
        return "\n".join([*lines, "", last_line])
    failed = sum(1 for check in checks if not check["passed"])
    verdict = (
        f"{failed} of {len(checks)} checks FAILED" if failed else f"all {len(checks)} checks passed"
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


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
