"""Filters over service definitions; the logic is in module_utils/inventory/definitions.py."""

from __future__ import annotations

from collections.abc import Iterable
from functools import wraps
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import (
    addresses,
    certificates,
    checks,
    confinement,
    definitions,
    docker_networks,
)


def _clear_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (
            addresses.AddressError,
            certificates.CertificateError,
            definitions.DefinitionError,
        ) as error:
            raise AnsibleFilterError(str(error)) from error

    return wrapped


def tls_names(hosts: Iterable[str], hostvars: Any) -> list[str]:
    """Return the names by which others may know machines, for certificates.

    Args:
        hosts: of the inventory.
        hostvars: variables by host.
    """
    return [name for host in hosts for name in certificates.given_names(host, hostvars)]


class FilterModule:
    """What the platform roles ask of the services on a host."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "addresses": _clear_errors(addresses.addresses),
            "service_hosts": addresses.service_hosts,
            "service_roles": checks.service_roles,
            "machine_problems": addresses.machine_problems,
            "nameless_hosts": addresses.nameless_hosts,
            "shown_addresses": addresses.shown_addresses,
            "with_addresses": addresses.with_addresses,
            "with_companions": definitions.with_companions,
            "confinement": confinement.confinement,
            "declared_images": definitions.declared_images,
            "data_copies": definitions.data_copies,
            "kept_secrets": definitions.kept_secrets,
            "docker_pools": docker_networks.pools,
            "config_files": _clear_errors(definitions.config_files),
            "port_declarations": definitions.port_declarations,
            "page_trust": _clear_errors(certificates.page_trust),
            "published_ports": _clear_errors(definitions.published_ports),
            "host_directories": _clear_errors(definitions.host_directories),
            "secret_values": _clear_errors(definitions.secret_values),
            "service_logins": definitions.service_logins,
            "tls_names": _clear_errors(tls_names),
            "tls_services": definitions.tls_services,
            "waited_for": definitions.waited_for,
            "stack_document": _clear_errors(definitions.stack_document),
        }
