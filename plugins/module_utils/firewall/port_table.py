"""The port table: what a hospital's firewall team has to let through, before a deployment."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.firewall import port_rules
from ansible_collections.auscat.imaging.plugins.module_utils.host.tables import table


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
    """Return the rows of all hosts as an aligned table (text) or as CSV (csv, RFC 4180).

    Args:
        rows: as `port_rows` returns them.
        form: ``text`` or ``csv``.
    """
    if form == "csv":
        stream = io.StringIO()
        names = ["from", "from_address", "to", "to_address", *PORT_COLUMNS[4:]]
        csv.writer(stream).writerows([names, *rows])
        return stream.getvalue()
    return "\n".join(table(PORT_COLUMNS, rows))


def bracketed(address: str) -> str:
    """Return an address as it stands in a URL."""
    return f"[{address}]" if ":" in address else address
