"""Filters of the role backup; the logic is in module_utils/backup/plan.py and report.py."""

from __future__ import annotations

from functools import wraps
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.auscat.imaging.plugins.module_utils.backup import plan as backup_plan
from ansible_collections.auscat.imaging.plugins.module_utils.backup import report as backup_report
from ansible_collections.auscat.imaging.plugins.module_utils.backup.program.base import BackupError


@wraps(backup_plan.backup_settings)
def backup_settings(*arguments: Any) -> dict[str, Any]:
    """See backup.plan; a repository that cannot be understood is a filter's error."""
    try:
        return backup_plan.backup_settings(*arguments)
    except BackupError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What is backed up where, and how it went."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "backup_kinds": backup_plan.backup_kinds,
            "backup_logins": backup_plan.backup_logins,
            "backup_parts": backup_plan.backup_parts,
            "backup_settings": backup_settings,
            "backup_table": backup_report.backup_table,
            "restore_table": backup_report.restore_table,
            "restore_results": backup_report.restore_results,
            "run_result": backup_report.run_result,
        }
