"""What `troubleshoot` sees of one machine: what `observe` reads, and what a diagnosis needs beyond.

That is: whether a service was given the secrets of the inventory, whether CTP reaches Orthanc,
which firewall rule stops whom, whom CTP refused, and what of the logs may be passed on. Looking
changes nothing and never fails: what could not be looked at is None, and `unanswered` says so.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.care import safe_log
from ansible_collections.auscat.imaging.plugins.module_utils.care.targets import strangers
from ansible_collections.auscat.imaging.plugins.module_utils.firewall import (
    host_firewalls,
    nft_trace,
    port_rules,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import docker_objects
from ansible_collections.auscat.imaging.plugins.module_utils.host.containers import container_of
from ansible_collections.auscat.imaging.plugins.module_utils.host.facts import (
    existing_parent,
    operating_system,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.http import ClientError
from ansible_collections.auscat.imaging.plugins.module_utils.proof.dcmtk import echo_from
from ansible_collections.auscat.imaging.plugins.module_utils.services import scram
from ansible_collections.auscat.imaging.plugins.module_utils.stack.secret_versions import (
    LABEL_DIGEST,
    LABEL_NAME,
    carries,
)
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import (
    observe,
)
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status.command import (
    UnknownError,
    is_active,
    known,
    run,
    systemd,
)

OWN_CERTIFICATES = Path("/usr/local/share/ca-certificates")
UFW_CONFIGURATION = Path("/etc/ufw/ufw.conf")
ENGINE_DIRECTORY = {"path": "/var/lib/docker", "service": "docker"}
BRIDGE = re.compile(r"docker|br-[0-9a-f]{12}\Z|veth")
CTP_ROLE = "ctp_key_db_select"
LOG_LINES = 5000
PATIENCE = 20.0
"""Seconds for an answer; somebody waits for the diagnosis, and wants the reason, not a figure."""
ECHO_ERRORS = [
    ("has no address", "name"),
    ("Called AE Title Not Recognized", "called"),
    ("Calling AE Title Not Recognized", "calling"),
    ("Connection refused", "port"),
    ("TCP Initialization Error", "port"),
    ("timeout", "silent"),
    ("Timeout", "silent"),
    ("did not end", "silent"),
]


class _Seen:
    """What was seen, each part of it without the others."""

    def __init__(self, **known_already: Any) -> None:
        self.found: dict[str, Any] = known_already

    def look(self, name: str, question: Callable[[], Any]) -> Any:
        """Note what a question gives; what cannot be answered is None."""
        try:
            self.found[name] = question()
        except Exception as error:  # one broken part must not hide the others
            self.found[name] = None
            self.unanswered(name, error)
        return self.found[name]

    def unanswered(self, name: str, error: Exception) -> None:
        """Note that something could not be looked at, by the class of the error alone.

        Its text could hold anything.
        """
        self.found.setdefault("unanswered", {})[name] = type(error).__name__


def observed(p: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Look at this machine.

    Args:
        p: the options of the module troubleshoot_host.

    Returns:
        What `troubleshoot.diagnose` decides by; and by service what of its log may be passed on.
    """
    seen = _Seen(host=p["where"], stack=p["stack"], reached=True, time=time.time())
    seen.found["unasked"] = list(p["unasked"])
    seen.look("clock", observe.clock)
    seen.look("system", operating_system)
    seen.look("disks", lambda: disks(p["directories"]))
    seen.look("certificates", certificates)
    own = seen.look("own_addresses", own_addresses) or []
    seen.look("firewall", lambda: firewall(p["ports"], p["addresses"], own, p["limited"]))
    seen.found["engine_installed"] = observe.engine_installed()
    # One that does not run is no question without an answer.
    seen.found["engine"] = known(observe.engine, "")
    seen.found["swarm_locked"] = bool(seen.found["engine"]) and known(observe.swarm_locked, False)
    logs: dict[str, str] = {}
    if seen.found["engine"] and not seen.found["swarm_locked"]:
        _services(seen, p, logs)
    return seen.found, logs


def _services(seen: _Seen, p: Mapping[str, Any], logs: dict[str, str]) -> None:
    stack, here = p["stack"], p["services"]
    seen.look("services", lambda: observe.services(stack, here))
    found: dict[str, dict[str, Any]] = seen.found["services"] or {}
    containers = {name: service.pop("container") for name, service in found.items()}
    held = {name: containers[name] for name in p["tls_services"] if name in containers}
    seen.look("held_certificates", lambda: observe.certificates((), containers=held))
    if "secrets" not in p["unasked"]:
        seen.look("secrets", lambda: secrets(stack, p["secrets"]))
    if "keydb" in here:
        seen.look("keydb", lambda: keydb(containers.get("keydb", ""), p["keydb"]))
    if "ctp" in here:
        seen.look("ctp", lambda: ctp(p["ctp"]))
        if "echo" not in p["unasked"]:
            seen.look("echo", lambda: echo(f"{stack}_ctp", p["ctp"]))
    if "orthanc" in here:
        login = p["orthanc"]["user"], p["orthanc"]["password"]
        seen.look("orthanc", lambda: observe.orthanc(p["orthanc"], *login, PATIENCE))
    for name in found:
        try:
            lines = log_of(stack, name, p["since"])
        except UnknownError as error:
            # Of a log that could not be read nobody can say that it holds no refusal.
            seen.unanswered("log", error)
            continue
        logs[name] = safe_log.passed_on(lines)
        # The gate is where senders are; behind it CTP sees the gate alone.
        if name == "ctp_gate" or (name == "ctp" and "ctp_gate" not in found):
            seen.found["refusals"] = safe_log.refusals(lines)


def disks(directories: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the file system of each data directory, and of the engine's, once for each service.

    Where a directory is missing (exists), it is that of the nearest one above.
    """
    rows: dict[tuple[int, str], dict[str, Any]] = {}
    for directory in [*directories, ENGINE_DIRECTORY]:
        path = Path(directory["path"])
        found = observe.file_system(existing_parent(path))
        row = {"service": directory["service"], "path": str(path), "exists": path.exists()}
        rows.setdefault((found.pop("device"), directory["service"]), {**row, **found})
    return list(rows.values())


def certificates() -> list[dict[str, Any]]:
    """Return until when the Swarm's certificate and the hospital's own are valid."""
    swarm = observe.SWARM_CERTIFICATE
    own = sorted(each for each in OWN_CERTIFICATES.glob("**/*.crt") if each.is_file())
    return observe.certificates([*([swarm] if swarm.is_file() else []), *own])


def own_addresses() -> list[str]:
    """Return the addresses by which other machines know this host.

    Docker's bridges have the same addresses on every machine, so theirs say nothing.

    Raises:
        UnknownError: they cannot be listed.
    """
    links = json.loads(run("ip", "-j", "address"))
    return sorted(
        str(each["local"])
        for link in links
        if not BRIDGE.match(str(link.get("ifname")))
        for each in link.get("addr_info", [])
    )


def ctp(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what CTP's page says, without what it says of single objects and studies."""
    if parameters["flavour"] == "auscat":
        return observe.ctp_that_tells_nothing(parameters, parameters["password"], PATIENCE)
    found = observe.ctp(parameters, parameters["password"], PATIENCE)
    found.pop("studies", None)
    return found


def keydb(container: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return how KeyDB is, and whether it has the password that CTP was given.

    Raises:
        UnknownError: it runs nowhere here, or stopped answering.
    """
    found = observe.keydb(container, parameters["table"], timeout=60)
    if not found["answers"]:
        return found
    query = (
        "SELECT rolcanlogin::text || '|' || coalesce(rolpassword, '') FROM pg_authid"
        f" WHERE rolname = '{CTP_ROLE}';"
    )
    can_log_in, _, verifier = observe.psql(container, query).partition("|")
    return {
        **found,
        "role": can_log_in == "true",
        "password": scram.matches(parameters["ctp_password"], verifier),
    }


def echo(service: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Ask Orthanc from CTP's place: a C-ECHO under CTP's AE title."""
    own = parameters["flavour"] != "rsna"
    try:
        container = container_of(service)
    except ClientError:
        return {"asked": False}
    try:
        echo_from(
            container,
            parameters["calling"],
            parameters["called"],
            "" if own else parameters["hostname"],
            0 if own else int(parameters["port"]),
        )
    except ClientError as error:
        words = str(error)
        kind = next((kind for part, kind in ECHO_ERRORS if part in words), "other")
        return {"asked": True, "ok": False, "why": kind}
    return {"asked": True, "ok": True}


def secrets(stack: str, wished: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return for each secret that a service uses whether it carries the inventory's value.

    Raises:
        CommandError: the engine does not answer.
    """
    contents = {each["name"]: str(each["content"]) for each in wished}
    labels = {
        each["Spec"]["Name"]: each["Spec"].get("Labels") or {}
        for each in docker_objects("secret", [])
    }
    rows = []
    for service in docker_objects("service", [f"label={observe.LABEL_STACK}={stack}"]):
        used = service["Spec"]["TaskTemplate"]["ContainerSpec"].get("Secrets") or []
        for reference in used:
            label = labels.get(reference["SecretName"], {})
            name = label.get(LABEL_NAME, "")
            if name in contents:
                rows.append(
                    {
                        "service": service["Spec"]["Name"][len(stack) + 1 :],
                        "secret": name,
                        "same": carries(label.get(LABEL_DIGEST, ""), contents[name]),
                    }
                )
    return rows


def firewall(
    ports: Sequence[Mapping[str, Any]],
    addresses: Sequence[Mapping[str, Any]],
    own: Sequence[str],
    limited: bool,
) -> dict[str, Any]:
    """Return what this host's firewalls do with who is to reach the ports.

    Args:
        ports: published ports, as the service definitions declare them.
        addresses: as `targets.addresses` returned them.
        own: addresses of this host.
        limited: whether the inventory limits ports to their sources.

    Raises:
        UnknownError: the rules cannot be listed.
    """
    ruleset = nft_trace.Ruleset(json.loads(run("nft", "--json", "list", "ruleset", timeout=30)))
    rows = []
    for each in strangers(addresses, own):
        port = next((p for p in ports if p["published"] == each["port"]), None)
        if port is None:
            continue
        target, protocol = int(port["target"]), str(port.get("protocol") or "tcp")
        for block in ruleset.blocks(each["port"], target, each["address"], protocol)[:1]:
            rows.append({**each, **block._asdict(), "sets": list(block.sets)})
    return {
        **observe.firewall(limited),
        "blocks": rows,
        "dropped": {
            str(port["published"]): ruleset.dropped(
                port_rules.TABLE_FAMILY,
                port_rules.TABLE_NAME,
                f"{port.get('protocol') or 'tcp'}_{port['published']}",
            )
            for port in ports
        },
        # Without limits there are no rules of ours in them either.
        **(_other_firewalls(ports) if limited else {}),
    }


def _other_firewalls(ports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    # A name without an address must not hide the other ports.
    rules = port_rules.normalise([port for port in ports if not port_rules.problems([port])])
    found: dict[str, Any] = {"ufw": [], "firewalld": []}
    if UFW_CONFIGURATION.is_file() and host_firewalls.ufw_is_active(UFW_CONFIGURATION.read_text()):
        added = host_firewalls.ufw_rules(run("ufw", "show", "added"))
        wished = host_firewalls.ufw_wished(rules, ipv6=False)
        found["ufw"] = sorted({rule.port for rule in wished - added.ours - added.others})
    if shutil.which("firewall-cmd") and _firewalld_runs():
        zones = host_firewalls.firewalld_zones(run("firewall-cmd", "--list-all-zones"))
        default = run("firewall-cmd", "--get-default-zone").strip()
        for zone in host_firewalls.zones_to_open(zones, default):
            there = zones[zone].rich_rules if zone in zones else frozenset()
            missing = host_firewalls.firewalld_rules(rules) - there
            found["firewalld"] += sorted(
                {rule.published for rule in rules for m in missing if f'"{rule.published}"' in m}
            )
    return found


def _firewalld_runs() -> bool:
    if systemd():
        return is_active("firewalld.service")
    return known(lambda: bool(run("firewall-cmd", "--state")), False)


def log_of(stack: str, service: str, since: str) -> list[str]:
    """Return the last lines of a service's log, with the engine's time before each.

    Raises:
        UnknownError: they cannot be read.
    """
    command = ["docker", "service", "logs", "--raw", "--timestamps", "--since", since]
    command += ["--tail", str(LOG_LINES), f"{stack}_{service}"]
    # Docker prints what a program wrote to its standard error to its own.
    printed = run("sh", "-c", 'exec "$@" 2>&1', "sh", *command, timeout=60)
    return printed.splitlines()
