"""Filters for a rotation of secrets; the logic is in module_utils/stack/rotation.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.auscat.imaging.plugins.module_utils.stack import rotation


class FilterModule:
    """What playbooks/rotate_secrets.yml asks of the services, and its tables."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "declared_secrets": rotation.declared_secrets,
            "fixed_variables": rotation.fixed_variables,
            "rotation_plan_report": rotation.plan_report,
            "rotation_report": rotation.rotation_report,
            "rotation_rows": rotation.rotation_rows,
        }
