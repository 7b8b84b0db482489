"""The closing table: what runs where, who may reach it, where the data lies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.firewall.port_table import (
    bracketed,
    senders,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.tables import table


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
                f"{port['scheme'] or port['protocol']}://{bracketed(address)}:{port['published']}",
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
