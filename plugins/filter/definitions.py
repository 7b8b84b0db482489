"""Filters over service definitions; the logic is in module_utils/inventory/definitions.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import wraps
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.auscat.imaging.plugins.module_utils.firewall import outgoing
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


def outgoing_of(named: Any, variable: str) -> list[dict[str, Any]]:
    """Return whom others on the Swarm's bridge may connect to, each as a definition has it.

    Args:
        named: a mapping of their names to lists as `destinations` takes them.
        variable: that holds it, for errors.
    """
    if not isinstance(named, Mapping):
        text = f" is {named!r}. Accepted: a mapping of names to lists. Correct the inventory."
        return [{"name": "", "outgoing": [{**outgoing.parsed("", variable), "problem": text}]}]
    return [
        {"name": str(name), "outgoing": destinations(texts, f"{variable}.{name}")}
        for name, texts in named.items()
    ]


def destinations(texts: Any, variable: str) -> list[dict[str, Any]]:
    """Return a list of the inventory as a definition has whom it may connect to (``outgoing``).

    Args:
        texts: addresses, networks, hosts and groups of the inventory and names that DNS knows,
            each with :PORT or :PORT/udp behind it for one port alone.
        variable: that holds the list, for errors.
    """
    if not isinstance(texts, (list, tuple)):
        return [
            {
                **outgoing.parsed("", variable),
                "problem": f" is {texts!r}. Accepted: a list; [] for nobody. Correct the "
                "inventory.",
            }
        ]
    return [outgoing.parsed(text, f"{variable}[{index}]") for index, text in enumerate(texts)]


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
            "destinations": destinations,
            "declared_images": definitions.declared_images,
            "data_copies": definitions.data_copies,
            "kept_secrets": definitions.kept_secrets,
            "docker_pools": docker_networks.pools,
            "config_files": _clear_errors(definitions.config_files),
            "outgoing_of": outgoing_of,
            "outgoing_rules": outgoing.declared,
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
