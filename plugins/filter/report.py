"""Filters for the closing table; the logic is in module_utils/report.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.auscat.imaging.plugins.module_utils import report


class FilterModule:
    """Lines of the closing table."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"node_report": report.node_report, "proof_report": report.proof_report}
