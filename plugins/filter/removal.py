"""Filter for the table of a teardown; the logic is in module_utils/host/removal.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.auscat.imaging.plugins.module_utils.host.removal import teardown_report


class FilterModule:
    """The table of playbooks/teardown.yml."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"teardown_report": teardown_report}
