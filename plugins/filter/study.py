"""Filters for the account of studies; the logic is in module_utils/care/studies.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.auscat.imaging.plugins.module_utils.care.studies import (
    names_report,
    study_report,
)


class FilterModule:
    """Whether studies are complete, and which names were replaced in them, as text."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"study_report": study_report, "names_report": names_report}
