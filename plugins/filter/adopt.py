"""Filters for taking over a node that was made by hand; the logic is in module_utils/adopt."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.auscat.imaging.plugins.module_utils.adopt import findings, way


class FilterModule:
    """What is taken over, and what is in the way."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "adopt_freed_ports": way.freed_ports,
            "adopt_moves": way.moves,
            "adopt_obstacles": findings.obstacles,
            "adopt_parts": way.parts,
        }
