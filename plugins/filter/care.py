"""Filters for what is done to a running node; the logic is in module_utils."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.auscat.imaging.plugins.module_utils.care import (
    audit,
    machine_steps,
    quarantine,
    support_bundle,
    targets,
    troubleshoot,
)


class FilterModule:
    """Tables and diagnoses."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "audit_report": audit.report,
            "failure_kind": machine_steps.failure_kind,
            "quarantine_report": quarantine.quarantine_report,
            "release_report": quarantine.release_report,
            "troubleshoot_addresses": targets.addresses,
            "troubleshoot_bundle": support_bundle.bundle,
            "troubleshoot_findings": troubleshoot.findings,
            "troubleshoot_report": troubleshoot.report,
        }
