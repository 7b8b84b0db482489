"""Turn the names of the inventory into addresses: hosts, groups, and names that DNS knows.

Rules of a firewall hold addresses. An operator thinks in names: ``ctp_dicom_sources: [pacs]``.
The names are resolved on the controller, at deployment; a name that means another address later
takes effect with the next run.

`look_up` asks the resolver of this machine. Everything else is pure and takes it as an argument.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Callable

from ansible_collections.auscat.imaging.plugins.module_utils.firewall.outgoing import ACCEPTED
from ansible_collections.auscat.imaging.plugins.module_utils.inventory.definitions import changed

LookUp = Callable[[str], Sequence[str]]
#: Variables of a host, the first that is set counts, then its name in the inventory.
ADDRESS_VARIABLES = ("auscat_address", "ansible_host")

_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?\Z")


class AddressError(ValueError):
    """A name has no address; the text says which, why, and what to do."""


@cache
def look_up(name: str) -> tuple[str, ...]:
    """Return the addresses that this machine's resolver knows for a name.

    Raises:
        OSError: it knows none.
    """
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_address(text: str) -> bool:
    """Tell whether a text is one IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_name(source: Any, groups: Mapping[str, Any], hosts: Any) -> bool:
    """Tell whether a source is meant as a name, and not as an address or a network."""
    if not isinstance(source, str) or is_address(source):
        return False
    return source in groups or source in hosts or bool(_NAME.match(source.strip()))


def _addresses_of(text: str, look_up: LookUp) -> list[str]:
    """Return the addresses of an address or a name, sorted, IPv4 first.

    Loopback addresses are dropped: Debian's /etc/hosts gives a machine's own name 127.0.1.1, and
    no other machine ever sends from there.

    Raises:
        AddressError: there are none.
    """
    try:
        found = [text] if is_address(text) else [str(each) for each in look_up(text)]
    except OSError as error:
        reason = error.strerror or str(error)
        raise AddressError(f"which this machine cannot look up ({reason})") from None
    except UnicodeError:
        raise AddressError("which is no name that can be looked up") from None
    parsed = {ipaddress.ip_address(each.partition("%")[0]) for each in found}
    usable = [each for each in parsed if not (each.is_loopback or each.is_link_local)]
    if not usable:
        listed = ", ".join(sorted(map(str, parsed)))
        raise AddressError(f"which here means {listed}, where no other machine can be reached")
    return [str(each) for each in sorted(usable, key=lambda each: (each.version, int(each)))]


def host_addresses(host: str, hostvars: Any, look_up: LookUp = look_up) -> list[str]:
    """Return the addresses of a host of the inventory, sorted, IPv4 first.

    ``auscat_address`` (an address, a name, or a list of them) counts before ``ansible_host``, and
    that before the name in the inventory.

    Raises:
        AddressError: one of its names has no address.
    """
    variables = hostvars[host]
    variable, value = "its name in the inventory", host
    for candidate in ADDRESS_VARIABLES:
        if variables.get(candidate):
            variable, value = candidate, variables[candidate]
            break
    texts = list(value) if isinstance(value, (list, tuple)) else [value]
    found: dict[str, None] = {}
    for text in texts:
        try:
            found.update(dict.fromkeys(_addresses_of(str(text), look_up)))
        except AddressError as error:
            raise AddressError(
                f"The host {host} of the inventory has the address {str(text)!r} ({variable}), "
                f"{error}. Set auscat_address of {host} to the address by which the other "
                "machines know it."
            ) from None
    return list(found)


def known_addresses(host: str, hostvars: Any, look_up: LookUp = look_up) -> list[str]:
    """Return every address of a host that the inventory and DNS know, sorted, IPv4 first.

    Not only those by which the others reach it: all of ``auscat_address``, ``ansible_host`` and its
    name. What has no address is left out.
    """
    variables = hostvars[host]
    found: set[str] = set()
    for value in [*(variables.get(each) for each in ADDRESS_VARIABLES), host]:
        for text in value if isinstance(value, (list, tuple)) else [value]:
            try:
                found.update(_addresses_of(str(text), look_up) if text else [])
            except AddressError:
                continue
    parsed = map(ipaddress.ip_address, found)
    return [str(each) for each in sorted(parsed, key=lambda each: (each.version, int(each)))]


def shown_addresses(host: str, hostvars: Any, look_up: LookUp = look_up) -> list[str]:
    """Return the addresses of a host for a table; where one cannot be looked up, its name."""
    try:
        return host_addresses(host, hostvars, look_up)
    except AddressError:
        variables = hostvars[host]
        given = next((variables[each] for each in ADDRESS_VARIABLES if variables.get(each)), host)
        return [str(each) for each in (given if isinstance(given, (list, tuple)) else [given])]


def nameless_hosts(
    hosts: Iterable[str], hostvars: Any, look_up: LookUp = look_up
) -> dict[str, str]:
    """Return those hosts of the inventory that have no address here, each with the reason.

    Args:
        hosts: names in the inventory.
        hostvars: variables by host.
        look_up: asks DNS.
    """
    found = {}
    for host in hosts:
        try:
            host_addresses(host, hostvars, look_up)
        except AddressError as error:
            found[host] = str(error)
    return found


def source_addresses(
    source: str, groups: Mapping[str, Any], hostvars: Any, here: str = "", look_up: LookUp = look_up
) -> list[str]:
    """Return the addresses that a name in a list of sources means.

    Args:
        source: name of a group or a host of the inventory, or a name that DNS knows.
        groups: the groups of the inventory, each a list of host names.
        hostvars: variables by host.
        here: this host. It is left out of groups, since a machine always reaches its own ports.
        look_up: asks DNS.

    Raises:
        AddressError: there are none; the text names the host and the remedy.
    """
    if source in groups:
        members = [str(host) for host in groups[source]]
        if not members:
            raise AddressError(
                f"The group {source} of the inventory has no hosts. Add them, or write addresses."
            )
    elif source in hostvars:
        members = [source]
    else:
        try:
            return _addresses_of(source.strip(), look_up)
        except AddressError as error:
            raise AddressError(
                f"It is no host and no group of the inventory, but a name {error}. Correct it in "
                "the inventory, or write the address."
            ) from None
    found: dict[str, None] = {}
    for host in members:
        if host != here:
            found.update(dict.fromkeys(host_addresses(host, hostvars, look_up)))
    return list(found)


def addresses(
    sources: Iterable[str],
    groups: Mapping[str, Any],
    hostvars: Any,
    here: str = "",
    look_up: LookUp = look_up,
) -> list[str]:
    """Return the addresses of several names; addresses and networks stand for themselves.

    Args:
        sources: addresses, networks, names of hosts in the inventory or in DNS.
        groups: of the inventory.
        hostvars: of all hosts.
        here: the host that asks.
        look_up: asks DNS.

    Raises:
        AddressError: as `source_addresses`, for the first name without an address.
    """
    found: dict[str, None] = {}
    for source in sources:
        if is_name(source, groups, hostvars):
            resolved = source_addresses(source, groups, hostvars, here, look_up)
            found.update(dict.fromkeys(resolved))
        else:
            found[source] = None
    return list(found)


def machine_problems(
    named: Mapping[str, str],
    groups: Mapping[str, Any],
    hostvars: Any,
    look_up: LookUp = look_up,
) -> list[str]:
    """Return what is wrong with variables that each name another machine; empty ones name none.

    Args:
        named: value by variable.
        groups: the groups of the inventory, each a list of host names.
        hostvars: variables by host.
        look_up: asks DNS.
    """
    problems = []
    for variable, value in named.items():
        text = str(value).strip()
        try:
            if is_name(text, groups, hostvars):
                source_addresses(text, groups, hostvars, look_up=look_up)
            elif text:
                plain = ipaddress.ip_address(text.partition("%")[0])
                mapped = plain.ipv4_mapped if isinstance(plain, ipaddress.IPv6Address) else None
                _addresses_of(str(mapped or plain), look_up)
            continue
        except AddressError as error:
            reason = str(error) if str(error)[0].isupper() else f"It is an address {error}."
        except ValueError:
            reason = "It is none of these."
        problems.append(
            f"{variable} is {value!r}. Accepted: an address, a host or a group of the inventory, or"
            f" a name that this machine can look up. {reason}"
        )
    return problems


def with_addresses(
    definitions: Iterable[Mapping[str, Any]],
    groups: Mapping[str, Any],
    hostvars: Any,
    here: str = "",
    look_up: LookUp = look_up,
    limited: bool = True,
    known: Mapping[str, Sequence[str]] | None = None,
) -> list[dict[str, Any]]:
    """Return service definitions whose ports' sources are addresses and networks only.

    Each port gets two keys more: ``source_names``, a mapping of each resolved address to the name
    that stood for it, and ``source_problems``, what `port_rules` reports for names without an
    address. Each destination under ``outgoing`` gets the networks that it means, or the problem
    with it. A name never fails here, so that the preflight can tell all problems together.

    Args:
        definitions: as the roles of the services declare them.
        groups: of the inventory.
        hostvars: variables by host.
        here: the host that asks.
        look_up: asks DNS.
        limited: whether the site limits whom services connect to. Otherwise ``outgoing`` is left
            out, and ``outside`` counts in its place.
        known: addresses by name that were looked up earlier in this run. A name may have others a
            minute later, and then the loaded rules would not be those that are compared.
    """
    ask = _known_first(known or {}, look_up)
    resolved = []
    for definition in definitions:
        found: dict[str, Any] = {}
        ports, outgoing = definition.get("ports"), definition.get("outgoing")
        if isinstance(ports, (list, tuple)):
            found["ports"] = [_with_addresses(p, groups, hostvars, here, ask) for p in ports]
        if not limited and outgoing is not None:
            found["outgoing"] = None
        elif isinstance(outgoing, (list, tuple)):
            found["outgoing"] = [_with_networks(o, groups, hostvars, ask) for o in outgoing]
        resolved.append(changed(definition, **found))
    return resolved


def _known_first(known: Mapping[str, Sequence[str]], look_up: LookUp) -> LookUp:
    return lambda name: known[name] if name in known else look_up(name)


def _with_networks(entry: Any, groups: Mapping[str, Any], hostvars: Any, look_up: LookUp) -> Any:
    """Return a destination with the IPv4 networks that it means, or with its problem.

    Containers have no IPv6. A name's addresses are those by which other machines know it, this
    machine included. The container is told them: a setting may name a host of the inventory, or a
    group that is called as a machine is.
    """
    if not isinstance(entry, Mapping) or entry.get("problem") or "host" not in entry:
        return entry
    host = str(entry["host"]).strip()
    named = is_name(host, groups, hostvars)
    reason = ""
    networks: list[str] = []
    try:
        for each in source_addresses(host, groups, hostvars, "", look_up) if named else [host]:
            network = ipaddress.ip_network(each)
            networks += [str(network)] if network.version == 4 else []
        if not networks:
            reason = "It has IPv6 alone, and containers have IPv4. Correct the inventory."
    except AddressError as error:
        reason = str(error)
    except ValueError as error:
        reason = f"It is none of these ({error}). Correct the inventory."
    if reason:
        return {**entry, "problem": f" is {host!r}. {ACCEPTED}. {reason}"}
    return {**entry, "networks": networks, "is_name": named}


def _with_addresses(
    port: Any, groups: Mapping[str, Any], hostvars: Any, here: str, look_up: LookUp
) -> Any:
    given = port.get("sources") if isinstance(port, Mapping) else None
    if not isinstance(given, (list, tuple)):
        return port
    sources: list[Any] = []
    names: dict[str, str] = {}
    problems: list[str] = []
    for index, source in enumerate(given):
        if not is_name(source, groups, hostvars):
            sources.append(source)
            continue
        try:
            found = source_addresses(source, groups, hostvars, here, look_up)
        except AddressError as error:
            problems.append(
                f"[{index}] is {source!r}. Accepted: an address, a network, a host or a group of "
                f"the inventory, or a name that this machine can look up. {error}"
            )
            continue
        sources += [address for address in found if address not in sources]
        names.update({address: str(source) for address in found if address not in names})
    return {**port, "sources": sources, "source_names": names, "source_problems": problems}


def service_hosts(services: Mapping[str, str], groups: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the hosts of the inventory that each service runs on.

    Args:
        services: service to the inventory group that it runs in (auscat_services).
        groups: of the inventory.
    """
    return {service: [str(h) for h in groups.get(group, [])] for service, group in services.items()}
