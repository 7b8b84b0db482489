"""Filters for the status; the logic is in module_utils/status/report.py and page.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.auscat.imaging.plugins.module_utils.status import notify_report as said
from ansible_collections.auscat.imaging.plugins.module_utils.status import notify_settings as notify
from ansible_collections.auscat.imaging.plugins.module_utils.status.page import status_page
from ansible_collections.auscat.imaging.plugins.module_utils.status.report import (
    status_failures,
    status_table,
)


def notify_settings(
    given: Mapping[str, Any],
    password: str,
    headers: Mapping[str, str],
    proxy: str = "",
    no_proxy: Sequence[str] = (),
) -> str:
    """Return the file of what tells people of alerts; empty where nobody is told.

    Args:
        given: auscat_notify.
        password: auscat_notify_mail_password.
        headers: auscat_notify_webhook_headers.
        proxy: the site's for https, or an empty text.
        no_proxy: names, domains and networks that are reached without it.

    Raises:
        AnsibleFilterError: something is wrong with them; the text has a line for each problem.
    """
    try:
        return notify.render(
            *(given, password, headers, proxy, no_proxy),
            lambda path: Path(path).expanduser().read_text(encoding="utf-8"),
        )
    except notify.NotifyError as error:
        raise AnsibleFilterError(str(error)) from error


def maintenance_minutes(text: str) -> int:
    """Return for how many minutes a maintenance is announced; 0 for its end.

    Args:
        text: such as 90m, 2h, 3d or end.

    Raises:
        AnsibleFilterError: it is none of these, or longer than 14 days.
    """
    try:
        return said.maintenance_minutes(text)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The status of all nodes as text and as a page."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "maintenance_minutes": maintenance_minutes,
            "maintenance_report": said.maintenance_report,
            "notify_report": said.notify_report,
            "notify_settings": notify_settings,
            "status_failures": status_failures,
            "status_page": status_page,
            "status_table": status_table,
        }
