"""Filters for the closing table, the port table and the table of what was proved."""

from __future__ import annotations

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


def port_rows(*arguments: Any) -> list[list[str]]:
    """See firewall.port_table.port_rows.

    Raises:
        AnsibleFilterError: the declarations have problems; the text holds all of them.
    """
    try:
        return port_table.port_rows(*arguments)
    except PortRuleError as error:
        raise AnsibleFilterError(str(error)) from error


def isolation_verdict(*arguments: Any) -> str:
    """See proof_isolation.isolation_verdict.

    It is imported here because it imports pydicom: Ansible loads this file in the process of every
    task that uses one of its filters.
    """
    from ansible_collections.auscat.imaging.plugins.module_utils.proof import isolation

    return isolation.isolation_verdict(*arguments)


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
