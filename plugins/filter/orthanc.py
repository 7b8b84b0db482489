"""Filters that make Orthanc's configuration; the logic is in module_utils/services/orthanc.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.auscat.imaging.plugins.module_utils.services import orthanc


def orthanc_configuration(settings: Mapping[str, Any]) -> str:
    """Return the text of orthanc.json.

    Raises:
        AnsibleFilterError: the settings are wrong; the text holds all problems, one a line.
    """
    try:
        return orthanc.render(settings)
    except orthanc.OrthancConfigurationError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What the role orthanc makes of its variables."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"orthanc_configuration": orthanc_configuration}
