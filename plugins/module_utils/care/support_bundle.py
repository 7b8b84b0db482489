"""What of the observations may leave in a bundle for support."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.care.troubleshoot import report

# What of the observations may leave the hospital as text; all else of them is numbers.
_TEXTS = frozenset(
    [
        "host",
        "engine",
        "service",
        "path",
        "health",
        "error",
        "mount",
        "source",
        "address",
        "who",
        "variable",
        "where",
        "rule",
        "kind",
        "id",
        "version",
        "codename",
        "peer",
        "why",
        "last",
        "hostname",
        "called",
        "calling",
        "secret",
        "purpose",
        "from",
        "state",
        "check",
    ]
)


def shareable(value: Any, key: str = "") -> Any:
    """Return an observation with the texts that are known to be safe, and all numbers."""
    if isinstance(value, Mapping):
        return {str(name): shareable(each, str(name)) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [shareable(each, key) for each in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value) if key in _TEXTS else "(withheld)"


def bundle(
    observations: Sequence[Mapping[str, Any]], logs: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    """Return the files for support: name to text.

    Args:
        observations: as `diagnose` takes them.
        logs: host to service to what `safe_log.passed_on` gave.
    """
    files = {
        "report.txt": report(observations) + "\n",
        "observations.json": json.dumps([shareable(each) for each in observations], indent=1),
    }
    for host, of_host in logs.items():
        for service, text in of_host.items():
            files[f"{host}-{service}.log"] = text
    return files
