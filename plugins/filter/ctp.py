"""Filters that make what stock CTP reads; the logic is in module_utils/ctp."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import config as ctp_config
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import distribution, script
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import certificates


@lru_cache(maxsize=8)
def _rendered(settings: str) -> dict[str, str]:
    return ctp_config.files(json.loads(settings))


def ctp_files(settings: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the files as a definition's ``configs``: name, target and content of each.

    Raises:
        AnsibleFilterError: the settings are wrong; the text holds all problems, one a line.
    """
    try:
        # The definitions are evaluated for many tasks, and a script takes a while to put together.
        rendered = _rendered(json.dumps(settings, sort_keys=True, default=str))
    except ctp_config.CtpConfigurationError as error:
        raise AnsibleFilterError(str(error)) from error
    return [
        {"name": name.replace(".", "_"), "target": f"/etc/ctp/{name}", "content": content}
        for name, content in sorted(rendered.items())
    ]


@lru_cache(maxsize=8)
def _rules(settings: str) -> dict[str, str]:
    return ctp_config.rules(json.loads(settings))


def ctp_rules(settings: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the rules of the first pipeline as a definition's ``configs``, for the stand-in.

    Raises:
        AnsibleFilterError: the settings are wrong; the text holds all problems, one a line.
    """
    try:
        rendered = _rules(json.dumps(settings, sort_keys=True, default=str))
    except ctp_config.CtpConfigurationError as error:
        raise AnsibleFilterError(str(error)) from error
    return [
        {
            "name": name.replace(".", "_"),
            "target": f"{ctp_config.RULES}/{name}",
            "content": content,
        }
        for name, content in sorted(rendered.items())
    ]


@lru_cache(maxsize=8)
def _checksum(source: str) -> str:
    return distribution.checksum(source)


def ctp_checksum(source: str, expected: str = "") -> str:
    """Return the SHA-256 of a distribution; it must be the expected one, where one is given.

    Args:
        source: a CTP installer, an archive or a directory on the controller.
        expected: ctp_distribution_checksum.

    Raises:
        AnsibleFilterError: there is no such distribution, or it is another one.
    """
    try:
        found = _checksum(str(source))
    except distribution.DistributionError as error:
        raise AnsibleFilterError(str(error)) from error
    if expected and found != str(expected).removeprefix("sha256:").lower():
        raise AnsibleFilterError(
            f"ctp_distribution_checksum is {expected}, but {source} has {found}. Accepted: the "
            "SHA-256 of the file. Compare it with what you meant to install, and download it again."
        )
    return found


def ctp_hold_seconds(value: Any) -> int:
    """Return the seconds that senders wait for CTP.

    Args:
        value: ctp_hold_seconds.

    Raises:
        AnsibleFilterError: it is no such number.
    """
    try:
        return ctp_config.hold_seconds(value)
    except ctp_config.CtpConfigurationError as error:
        raise AnsibleFilterError(str(error)) from error


def ctp_dicom_tls(mode: str, required_for: list[str], flavour: str, tls: str) -> str:
    """Return how CTP's DICOM port takes TLS.

    Args:
        mode: ctp_dicom_tls.
        required_for: ctp_dicom_tls_required_for.
        flavour: ctp_flavour.
        tls: auscat_tls.

    Raises:
        AnsibleFilterError: it cannot be had, or the variables contradict one another.
    """
    try:
        return ctp_config.dicom_tls(mode, required_for, flavour, tls)
    except ctp_config.CtpConfigurationError as error:
        raise AnsibleFilterError(str(error)) from error


def ctp_dicom_tls_clients(given: str, mode: str) -> str:
    """Return the CAs of which one has to have signed a sender's certificate, as PEM.

    Args:
        given: ctp_dicom_tls_clients.
        mode: ctp_dicom_tls.

    Raises:
        AnsibleFilterError: it holds no certificate that is valid now, or senders are not asked.
    """
    try:
        return certificates.sender_authorities(
            given, mode, lambda path: Path(path).expanduser().read_text(encoding="utf-8")
        )
    except certificates.CertificateError as error:
        raise AnsibleFilterError(str(error)) from error


def ctp_said(settings: Mapping[str, Any], flavour: str) -> list[dict[str, str]]:
    """Return what the tables say of the de-identification of each pipeline.

    In the AusCAT image's place, and alone, the stand-in has the rules of the first one.

    Args:
        settings: the variables of the role by name.
        flavour: ctp_flavour.
    """
    found = ctp_config.said(settings)
    return found if flavour == "rsna" else found[:1]


class FilterModule:
    """Filters over the variables of the role ctp."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "ctp_checksum": ctp_checksum,
            "ctp_dicom_tls": ctp_dicom_tls,
            "ctp_dicom_tls_clients": ctp_dicom_tls_clients,
            "ctp_files": ctp_files,
            "ctp_gate_pipelines": ctp_config.gate_pipelines,
            "ctp_hold_seconds": ctp_hold_seconds,
            "ctp_options": script.resolved,
            "ctp_rules": ctp_rules,
            "ctp_said": ctp_said,
        }
