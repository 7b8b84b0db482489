"""Filters that make Orthanc's configuration; the logic is in module_utils/services/orthanc.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.auscat.imaging.plugins.module_utils.services import (
    destinations,
    directory,
    orthanc,
)


def orthanc_configuration(settings: Mapping[str, Any]) -> str:
    """Return the text of orthanc.json.

    Raises:
        AnsibleFilterError: the settings are wrong; the text holds all problems, one a line.
    """
    try:
        return orthanc.render(settings)
    except orthanc.OrthancConfigurationError as error:
        raise AnsibleFilterError(str(error)) from error


def orthanc_directory(
    settings: Mapping[str, Any], page: str, users: Iterable[str]
) -> dict[str, Any]:
    """Return what the web server is told of the people of a directory, who get in at a page.

    Args:
        settings: orthanc_ldap, orthanc_oidc and their secrets by name.
        page: name of the page, that of its service.
        users: names of the service's own users.

    Returns:
        configuration, authorities and secrets; empty without a directory.

    Raises:
        AnsibleFilterError: the settings are wrong; the text holds all problems, one a line.
    """
    try:
        return directory.render(
            settings, page, users, lambda path: Path(path).expanduser().read_text(encoding="utf-8")
        )
    except directory.DirectoryError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What the role orthanc makes of its variables."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "ctp_destinations": destinations.ctp_destinations,
            "directory_destinations": destinations.directory_destinations,
            "orthanc_configuration": orthanc_configuration,
            "orthanc_destinations": destinations.orthanc_destinations,
            "orthanc_directory": orthanc_directory,
        }
