"""Filters for the status; the logic is in module_utils/status/report.py and page.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.auscat.imaging.plugins.module_utils.status.page import status_page
from ansible_collections.auscat.imaging.plugins.module_utils.status.report import (
    status_failures,
    status_table,
)


class FilterModule:
    """The status of all nodes as text and as a page."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "status_failures": status_failures,
            "status_page": status_page,
            "status_table": status_table,
        }
