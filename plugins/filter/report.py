"""Filters for the closing table, the port table and the table of what was proved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import wraps
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.auscat.imaging.plugins.module_utils.firewall import port_table
from ansible_collections.auscat.imaging.plugins.module_utils.firewall.port_rules import (
    PortRuleError,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof import outcome
from ansible_collections.auscat.imaging.plugins.module_utils.stack import report
from ansible_collections.auscat.imaging.plugins.module_utils.stack.upgrade_plan import (
    upgrade_report,
)


@wraps(port_table.port_rows)
def port_rows(*arguments: Any) -> list[list[str]]:
    """See firewall.port_table; problems of the declarations are a filter's error."""
    try:
        return port_table.port_rows(*arguments)
    except PortRuleError as error:
        raise AnsibleFilterError(str(error)) from error


def isolation_verdict(checks: Iterable[Mapping[str, Any]], log: str = "") -> str:
    """Return what the outcome of the test of Orthanc alone means, in plain words.

    Args:
        checks: rows of the test, as the module proof_isolation returns them.
        log: the last tasks and log lines of Orthanc, shown where Orthanc is at fault.
    """
    # It imports pydicom, and Ansible loads this file in the process of every task that uses one of
    # its filters.
    from ansible_collections.auscat.imaging.plugins.module_utils.proof import isolation

    return isolation.isolation_verdict(checks, log)


class FilterModule:
    """Lines of the closing table."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "isolation_verdict": isolation_verdict,
            "node_report": report.node_report,
            "port_rows": port_rows,
            "port_table": port_table.port_table,
            "proof_report": outcome.proof_report,
            "upgrade_report": upgrade_report,
        }
