"""The closing table: what runs where, who may reach it, where the data lies, what was proved.

And the port table: what a hospital's firewall team has to let through, before anything is deployed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.firewall import port_rules


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return an aligned text table, one line a row, under its header and a rule."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [
        max(len(row[column]) for row in [list(header), *cells]) for column in range(len(header))
    ]

    def line(row: Sequence[str]) -> str:
        return "  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip()

    return [line(header), "  ".join("-" * width for width in widths), *map(line, cells)]


def senders(sources: Sequence[str], names: Mapping[str, str] | None = None) -> str:
    """Return in words who may connect to a port: a name with the addresses that stand for it."""
    if not sources:
        return "this machine only"
    words: dict[str, list[str]] = {}
    for source in sources:
        words.setdefault((names or {}).get(source, ""), []).append(source)
    texts = [
        f"{name} ({', '.join(addresses)})" if name else ", ".join(addresses)
        for name, addresses in words.items()
    ]
    return ", ".join(["this machine", *texts])


def node_report(
    host: str,
    services: Iterable[Mapping[str, Any]],
    ports: Iterable[Mapping[str, Any]],
    directories: Iterable[Mapping[str, Any]],
    address: str,
    deidentification: Sequence[Mapping[str, str]] = (),
) -> str:
    """Return the text on one host.

    Args:
        host: its name in the inventory.
        services: name, image, health as the module swarm_stack returns them.
        ports: as `definitions.published_ports` returns them.
        directories: as `definitions.host_directories` returns them.
        address: where a browser or a DICOM sender reaches the host.
        deidentification: of each pipeline of its CTP, as `ctp.config.said` returns it.
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
                senders(port["sources"], port.get("source_names")),
                f"{port['scheme'] or port['protocol']}://{_bracketed(address)}:{port['published']}",
            )
            for port in ports
        ],
    )
    if deidentification:
        lines += ["", f"De-identification on {host} (docs/ctp.md)", ""]
        lines += table(
            ["pipeline", "preset", "options beside it"],
            [
                (each["pipeline"], each["preset"], each["changes"] or "none")
                for each in deidentification
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
        lines = ["Proof: not run (check mode, --limit, other tags, or verify_enabled: false)."]
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


PORT_COLUMNS = ("from", "address", "to", "address", "port", "protocol", "purpose")


def port_rows(
    ports: Iterable[Mapping[str, Any]], host: str, addresses: Sequence[str], ssh_port: int = 0
) -> list[list[str]]:
    """Return what has to be let through to one host, a row for each source and port.

    Args:
        ports: as `definitions.published_ports` returns them, with names resolved.
        host: its name in the inventory.
        addresses: of the host; each row shows those of its source's family, if there are any.
        ssh_port: where Ansible logs in; 0 for a host that is not reached over SSH.

    Returns:
        The columns of `PORT_COLUMNS`; a port without sources has one row, from nobody.

    Raises:
        PortRuleError: the declarations have problems; the text holds all of them.
    """
    listed = list(ports)
    found = port_rules.problems(listed)
    if found:
        raise port_rules.PortRuleError(found)

    def towards(source: str) -> str:
        same = [each for each in addresses if (":" in each) is (":" in source)]
        return " ".join(same or addresses)

    rows = []
    if ssh_port:
        rows.append(
            ["controller", "", host, " ".join(addresses), str(ssh_port), "tcp", "SSH, for Ansible"]
        )
    for port in listed:
        where = [str(port["published"]), str(port["protocol"]), str(port["purpose"])]
        names = port.get("source_names") or {}
        for source in port["sources"]:
            rows.append([names.get(source, ""), source, host, towards(source), *where])
        if not port["sources"]:
            rows.append(["nobody", "", host, " ".join(addresses), *where])
    return rows


def port_table(rows: Sequence[Sequence[str]], form: str = "text") -> str:
    """Return the rows of all hosts as an aligned table (text) or as CSV (csv, RFC 4180)."""
    if form == "csv":
        stream = io.StringIO()
        names = ["from", "from_address", "to", "to_address", *PORT_COLUMNS[4:]]
        csv.writer(stream).writerows([names, *rows])
        return stream.getvalue()
    return "\n".join(table(PORT_COLUMNS, rows))


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
