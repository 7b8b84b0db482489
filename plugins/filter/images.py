"""Filters over images and the site's network; the logic is in plugins/module_utils."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible.utils.display import Display
from ansible_collections.auscat.imaging.plugins.module_utils.host import site_network
from ansible_collections.auscat.imaging.plugins.module_utils.images import references


def certificates(entries: Iterable[str] | str) -> list[str]:
    """Return the single certificates of auscat_ca_certificates.

    Args:
        entries: PEM texts, or paths of PEM files on the controller.

    Raises:
        AnsibleFilterError: an entry is neither, or holds no certificate.
    """
    texts = []
    for entry in [entries] if isinstance(entries, str) else entries or []:
        if "-----BEGIN" in entry:
            texts.append(entry)
            continue
        try:
            texts.append(Path(entry).expanduser().read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise AnsibleFilterError(
                f"auscat_ca_certificates names {entry}, which cannot be read on the controller "
                f"({error}). Accepted: paths of PEM files on the controller, or the PEM itself."
            ) from error
    try:
        return site_network.certificates(texts)
    except site_network.SiteNetworkError as error:
        raise AnsibleFilterError(str(error)) from error


def site_network_digest(setting: Mapping[str, Any], systemd: bool, like: str = "") -> str:
    """Return the salted digest of the files that the module site_network would write for a setting.

    Args:
        setting: the parameters of that module.
        systemd: whether systemd starts the engine.
        like: the digest of a machine to compare with, whose salt is taken.
    """
    try:
        return site_network.digest(
            site_network.files(
                setting["http_proxy"],
                setting["https_proxy"],
                setting["no_proxy"],
                setting["certificates"],
                {name: str(value) for name, value in setting["engine_environment"].items()},
                systemd,
            ),
            like,
        )
    except site_network.SiteNetworkError as error:
        raise AnsibleFilterError(str(error)) from error


def proxy_environment(setting: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment variables of a setting's proxies; empty where there is none.

    Args:
        setting: the parameters of the module site_network.
    """
    try:
        return site_network.proxy_variables(
            setting["http_proxy"], setting["https_proxy"], setting["no_proxy"]
        )
    except site_network.SiteNetworkError as error:
        raise AnsibleFilterError(str(error)) from error


def runnable_images(definitions: Any, source: str) -> list[dict[str, Any]]:
    """Return the definitions with the images' names as the machine's engine knows them.

    An image that its makers renamed runs under its new name, with a warning.

    Args:
        definitions: of the services.
        source: images_source.
    """
    try:
        for warning in references.renamed(str(each["image"]) for each in definitions):
            Display().warning(warning)
        return references.runnable(definitions, source)
    except references.ImageNameError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What the roles ask of images and of the site's network."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "ca_certificates": certificates,
            "no_proxy": site_network.no_proxy,
            "proxy_environment": proxy_environment,
            "site_network_digest": site_network_digest,
            "runnable_images": runnable_images,
        }
