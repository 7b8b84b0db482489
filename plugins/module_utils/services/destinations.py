"""Whom Orthanc, the web server in front of it and CTP connect to: what the inventory names.

Everything here is pure. Each destination is a mapping as a definition has it under ``outgoing``:
host (an address or a name), port, protocol, variable (what an operator has to look for), and
``problem`` where it is none.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

#: Settings of Orthanc by which it keeps whom it connects to in its database.
IN_DATABASE = ("DicomModalitiesInDatabase", "OrthancPeersInDatabase")
PORTS = {"http": 80, "https": 443, "ldap": 389, "ldaps": 636}


def orthanc_destinations(options: Any, more: Any = ()) -> list[dict[str, Any]]:
    """Return the modalities, peers, DICOMweb servers and the proxy of Orthanc's settings.

    One that is Orthanc's own container (localhost, 127.0.0.1) is none. What Orthanc keeps in its
    database nobody else can read, so somebody has to be listed beside it.

    Args:
        options: orthanc_options, under Orthanc's own names: DicomModalities, OrthancPeers,
            DicomWeb.Servers and HttpProxy are read, DicomModalitiesInDatabase and
            OrthancPeersInDatabase asked for.
        more: orthanc_outgoing.
    """
    options = options if isinstance(options, Mapping) else {}
    web = options.get("DicomWeb")
    found = []
    for name, given in _entries(options.get("DicomModalities")):
        variable = f"orthanc_options.DicomModalities.{name}"
        if isinstance(given, Mapping):
            host, port = given.get("Host"), given.get("Port")
        else:
            host, port = list(given)[1:3] if _is_list(given) and len(given) > 2 else (None, None)
        found.append(_destination(host, port, variable, "AE title, host and port"))
    for place, servers in (
        ("OrthancPeers", options.get("OrthancPeers")),
        ("DicomWeb.Servers", web.get("Servers") if isinstance(web, Mapping) else None),
    ):
        for name, given in _entries(servers):
            url = given.get("Url") if isinstance(given, Mapping) else None
            url = given[0] if _is_list(given) and given else url
            found.append(_of_url(url, f"orthanc_options.{place}.{name}"))
    for name in IN_DATABASE:
        if str(options.get(name, "")).lower() == "true" and not more:
            found.append(
                {
                    **_destination("", 0, f"orthanc_options.{name}", ""),
                    "problem": " is true, and orthanc_outgoing is empty, so Orthanc could connect "
                    "to none of those in its database. Accepted: their addresses in "
                    "orthanc_outgoing, such as [10.40.3.7:104] (docs/firewall.md).",
                }
            )
    if options.get("HttpProxy"):
        # A user and a password may stand before the host.
        proxy = str(options["HttpProxy"]).rpartition("://")[2].rpartition("@")[2]
        found.append(_of_url(f"http://{proxy}", "orthanc_options.HttpProxy"))
    return [each for each in found if not _is_itself(str(each["host"]))]


def ctp_destinations(settings: Any, inside: Any = ()) -> list[dict[str, Any]]:
    """Return where CTP's pipelines export to, each once.

    Args:
        settings: ctp_orthanc_hostname, ctp_orthanc_port and ctp_pipelines.
        inside: names on the networks of the stack, which are none.
    """
    given = [("ctp_orthanc_hostname", settings["ctp_orthanc_hostname"], None)]
    for index, pipeline in enumerate(settings.get("ctp_pipelines") or []):
        export = pipeline.get("export") if isinstance(pipeline, Mapping) else None
        if isinstance(export, Mapping) and {"host", "port"} & export.keys():
            host = export.get("host") or settings["ctp_orthanc_hostname"]
            given.append((f"ctp_pipelines[{index}].export", host, export.get("port")))
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for variable, host, port in given:
        if str(host) not in inside:
            place = (str(host), str(port or settings["ctp_orthanc_port"]))
            found.setdefault(place, _destination(*place, variable, "a host and a port"))
    return list(found.values())


def directory_destinations(ldap: Any, oidc: Any) -> list[dict[str, Any]]:
    """Return the servers of orthanc_ldap, and the provider of orthanc_oidc.

    Args:
        ldap: orthanc_ldap; empty for off.
        oidc: orthanc_oidc; empty for off.
    """
    found = []
    if isinstance(ldap, Mapping):
        scheme = "ldaps" if ldap.get("tls", "ldaps") == "ldaps" else "ldap"
        servers = ldap.get("servers")
        listed = list(servers) if isinstance(servers, (list, tuple)) else []
        for index, server in enumerate(listed):
            found.append(_of_url(f"{scheme}://{server}", f"orthanc_ldap.servers[{index}]"))
    if isinstance(oidc, Mapping) and oidc.get("issuer"):
        found.append(_of_url(oidc["issuer"], "orthanc_oidc.issuer"))
    return found


def _entries(value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        return []
    return [(str(name), value[name]) for name in sorted(value, key=str)]


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _of_url(url: Any, variable: str) -> dict[str, Any]:
    try:
        parts = urlsplit(str(url or ""))
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme.lower())
    except ValueError:
        host, port = None, None
    return _destination(host, port, variable, "a URL with a host")


def _destination(host: Any, port: Any, variable: str, accepted: str) -> dict[str, Any]:
    number = int(port) if str(port).isdecimal() and not isinstance(port, bool) else 0
    entry = {"host": str(host or ""), "port": number, "protocol": "tcp", "variable": variable}
    if not host or not 1 <= number <= 65535:
        # The value may hold a password.
        entry["problem"] = (
            f" names no machine and port to connect to. Accepted: {accepted}. "
            "Correct the inventory."
        )
    return entry


def _is_itself(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
