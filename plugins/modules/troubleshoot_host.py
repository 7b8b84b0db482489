#!/usr/bin/python
"""Ansible module: look at everything on a host that can keep studies from arriving."""

from __future__ import annotations

DOCUMENTATION = r"""
module: troubleshoot_host
short_description: Inspect everything on a host that can keep studies from arriving
version_added: 0.1.0
description:
  - Looks and changes nothing. Never fails; what could not be looked at is returned as such.
  - What is returned holds no secret and no identifier of a patient. Of the services' logs it holds
    the lines whose form is known to be safe, and how many others there were.
options:
  where:
    description: Name of this host in the inventory.
    type: str
    required: true
  stack:
    description: Name of the Swarm stack.
    type: str
    default: auscat
  services:
    description: Names of the services that belong on this host.
    type: list
    elements: str
    required: true
  ports:
    description: Published ports, as the service definitions declare them.
    type: list
    elements: dict
    required: true
  directories:
    description: Data directories, with path and service.
    type: list
    elements: dict
    required: true
  secrets:
    description: Secrets with name and content, compared with those that the services use.
    type: list
    elements: dict
    required: true
  addresses:
    description: Addresses of machines that are to reach ports; port, address and who.
    type: list
    elements: dict
    default: []
  limited:
    description: Whether the inventory limits published ports to their sources.
    type: bool
    default: true
  ctp:
    description: flavour, url, password, minimum_free_mib, and Orthanc's hostname, port, called and
      calling AE title.
    type: dict
    default: {}
  orthanc:
    description: url, user and password.
    type: dict
    default: {}
  keydb:
    description: user (the superuser), table, and ctp_password.
    type: dict
    default: {}
  since:
    description: How far back the logs are read, as docker takes it.
    type: str
    default: 24h
attributes:
  check_mode: {support: full, description: Nothing is changed anyway.}
  diff_mode: {support: none, description: Nothing is changed.}
author: The AusCAT imaging node project
"""

EXAMPLES = r"""
- name: Inspect the machine
  auscat.imaging.troubleshoot_host:
    where: "{{ inventory_hostname }}"
    services: [orthanc]
    ports: "{{ __auscat_published_ports }}"
    directories: "{{ __auscat_directories }}"
    secrets: []
"""

RETURN = r"""
seen:
  description: What module_utils/care/troubleshoot.py decides by.
  type: dict
  returned: success
logs:
  description: What may be passed on of each service's log.
  type: dict
  returned: success
"""

import json
import os
import shutil
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.care import safe_log
from ansible_collections.auscat.imaging.plugins.module_utils.care.targets import strangers
from ansible_collections.auscat.imaging.plugins.module_utils.firewall import (
    host_firewalls,
    nft_trace,
    port_rules,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import (
    CommandError,
    docker_objects,
    run,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.containers import container_of
from ansible_collections.auscat.imaging.plugins.module_utils.host.facts import (
    existing_parent,
    operating_system,
    service_manager,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.http import ClientError, Http
from ansible_collections.auscat.imaging.plugins.module_utils.proof.dcmtk import echo_from
from ansible_collections.auscat.imaging.plugins.module_utils.services import scram
from ansible_collections.auscat.imaging.plugins.module_utils.services.keydb import (
    Keydb,
    KeydbAbsentError,
    KeydbError,
    KeydbSilentError,
    qualified,
)
from ansible_collections.auscat.imaging.plugins.module_utils.stack.secret_versions import (
    LABEL_DIGEST,
    LABEL_NAME,
    carries,
)
from ansible_collections.auscat.imaging.plugins.module_utils.stack.state import read_stack
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import (
    collect,
    memory,
)

SWARM_CERTIFICATE = Path("/var/lib/docker/swarm/certificates/swarm-node.crt")
OWN_CERTIFICATES = Path("/usr/local/share/ca-certificates")
CTP_ROLE = "ctp_key_db_select"
LOG_LINES = 5000


def engine_state() -> str:
    """Return running, down or absent."""
    if shutil.which("docker") is None:
        return "absent"
    try:
        collect.engine()
    except collect.UnknownError:
        return "down"
    return "running"


TASK_ERRORS = {
    "no suitable node": "no suitable machine",
    "bind source path does not exist": "a data directory is missing",
    "No such image": "the image is missing",
    "port is already allocated": "a port is in use by another program",
    "address already in use": "a port is in use by another program",
    "non-zero exit": "it ended with an error",
    "unhealthy": "it became unhealthy",
    "no space left": "the disk is full",
    "starting container failed": "the container could not be started",
}


def task_error(text: str) -> str:
    """Return an error of Swarm in words of ours; the engine's own could hold anything."""
    for part, words in TASK_ERRORS.items():
        if part.lower() in text.lower():
            return words
    return "another error" if text.strip() else ""


RECENT_SECONDS = 900
"""How far back a container that ended counts."""


def memory_kills() -> dict[str, list[float]]:
    """Return when something in a container was killed for memory, by the container's id."""
    try:
        return memory.kills(run(["dmesg"], timeout=20), memory.booted(time.time()))
    except (CommandError, OSError, ValueError):
        return {}


def ended(service: str, killed: dict[str, list[float]]) -> dict[str, Any]:
    """Return how many containers of a service ended lately, and how many the kernel killed."""
    since = time.time() - RECENT_SECONDS
    ids = run(["docker", "service", "ps", "--quiet", "--no-trunc", service], timeout=20).split()
    tasks = json.loads(run(["docker", "inspect", "--type=task", *ids], timeout=20)) if ids else []
    containers = [(t["Status"].get("ContainerStatus") or {}).get("ContainerID") for t in tasks]
    moments = [
        datetime.fromisoformat(task["Status"]["Timestamp"][:19] + "+00:00").timestamp()
        for task in tasks
        if task["Status"]["State"] in ("failed", "complete", "rejected")
    ]
    kills = memory.of_containers(killed, [each for each in containers if each])
    return {
        "ended": sum(moment > since for moment in moments),
        "memory_kills": sum(moment > since for moment in kills),
        "limit_mib": limit_mib(service),
    }


def limit_mib(service: str) -> int | None:
    """Return the memory limit of a service."""
    form = "{{json .Spec.TaskTemplate.Resources}}"
    found = json.loads(run(["docker", "service", "inspect", "--format", form, service])) or {}
    size = (found.get("Limits") or {}).get("MemoryBytes")
    return size // 2**20 if size else None


def services(stack: str, wished: list[str]) -> dict[str, Any]:
    """Return how each service of the stack, and each that is wished for, is."""
    states = read_stack(stack)
    killed = memory_kills()
    found: dict[str, Any] = {}
    for name in sorted({*wished, *states}):
        state = states.get(name)
        row: dict[str, Any] = {"deployed": state is not None, "wished": name in wished}
        if state is not None:
            row |= {
                "desired": state.desired,
                "running": state.running,
                "health": state.health,
                "converged": state.converged,
                "error": "",
            }
            row |= ended(f"{stack}_{name}", killed)
            if not state.converged:
                form = ["--no-trunc", "--format", "{{.Error}}", f"{stack}_{name}"]
                printed = run(["docker", "service", "ps", *form], timeout=20)
                errors = [task_error(each) for each in printed.splitlines() if each.strip()]
                row["error"] = errors[0] if errors else ""
        found[name] = row
    return found


def disks(directories: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the space of the file system of each data directory, and of the engine's."""
    rows = []
    seen = set()
    engine = {"path": "/var/lib/docker", "service": "docker"}
    for directory in [*directories, engine]:
        path = Path(directory["path"])
        place = existing_parent(path)
        key = (place.stat().st_dev, directory["service"])
        if key in seen:
            continue
        seen.add(key)
        found = os.statvfs(place)
        rows.append(
            {
                "service": directory["service"],
                "path": str(path),
                "exists": path.exists(),
                "free_mib": found.f_bavail * found.f_frsize // 2**20,
                "total_mib": found.f_blocks * found.f_frsize // 2**20,
                # File systems that make inodes as needed say 0 of 0.
                "free_inodes": found.f_favail if found.f_files else -1,
            }
        )
    return rows


def ctp(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return what CTP's page says, without what it says of single objects."""
    http = Http(parameters["url"], "admin", parameters["password"])
    if parameters["flavour"] == "auscat":
        try:
            http.send("GET", "/")
        except ClientError:
            return {"answers": False}
        return {"answers": True, "told": False}
    try:
        status, content = http.send("GET", "/api/status")
    except ClientError:
        return {"answers": False}
    if status == 401:
        return {"answers": True, "login": False}
    if status != 200:
        return {"answers": False, "status": status}
    page = json.loads(content)
    reasons: dict[str, int] = {}
    for each in page["quarantine"]:
        reasons[str(each["reason"])] = reasons.get(str(each["reason"]), 0) + 1
    lines = page.get("pipelines") or []
    ages = [each.get("oldest_seconds") for each in lines]
    keydb = page.get("keydb") or {}
    state = str(keydb.get("state", ""))
    return {
        "answers": True,
        "told": True,
        "login": True,
        "standin": bool(page.get("standin")),
        "healthy": bool(page.get("healthy")),
        "open": page["reception"] == "open" if "reception" in page else None,
        "space": "MiB free" in str(page.get("reception", "")),
        "frozen": bool(page.get("frozen")),
        "waits_for_orthanc": "Orthanc" in str(page.get("waiting_for", "")),
        "waits_for_keydb": "KeyDB" in str(page.get("waiting_for", "")),
        "keydb_away": state.startswith("away"),
        "patients": keydb.get("patients"),
        "keydb_age": keydb.get("age_seconds"),
        "oldest_seconds": max((each for each in ages if each is not None), default=None),
        "reasons": reasons,
        "held_back": [
            each
            for each in page.get("held_back") or []
            if isinstance(each, str) and collect.HELD_BACK.match(each)
        ],
        **{
            name: page.get(name)
            for name in ("received", "forwarded", "queued", "quarantined", "deleted", "free_mib")
        },
    }


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


def echo(service: str, parameters: dict[str, Any]) -> dict[str, Any]:
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


def orthanc(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return whether Orthanc answers and lets the first user in."""
    http = Http(parameters["url"], parameters["user"], parameters["password"])
    try:
        status, content = http.send("GET", "/statistics")
    except ClientError:
        return {"answers": False}
    if status in (401, 403):
        return {"answers": True, "login": False}
    if status != 200:
        return {"answers": False, "status": status}
    page = json.loads(content)
    return {
        "answers": True,
        "login": True,
        **{
            key: int(page[f"Count{name}"])
            for key, name in (("studies", "Studies"), ("instances", "Instances"))
        },
    }


def keydb(stack: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return whether KeyDB answers, and whether it has the password that CTP was given."""
    try:
        database = Keydb(stack, "keydb", parameters["user"], wait=5)
        roles = database.query(
            "SELECT coalesce(json_object_agg(rolname, json_build_array(rolcanlogin, rolpassword)),"
            f" '{{}}') FROM pg_authid WHERE rolname = '{CTP_ROLE}';",
            timeout=20,
        )
        count = database.query(
            f"SELECT count(*) FROM {qualified(parameters['table'])};", timeout=60
        )
    except KeydbAbsentError:
        return {"runs": False}
    except KeydbSilentError:
        return {"runs": True, "answers": False}
    except (KeydbError, ValueError):
        return {"runs": True, "answers": True, "asked": False}
    can_log_in, verifier = roles.get(CTP_ROLE, [False, None])
    return {
        "runs": True,
        "answers": True,
        "asked": True,
        "role": CTP_ROLE in roles and bool(can_log_in),
        "password": scram.matches(parameters["ctp_password"], verifier),
        "patients": int(count),
    }


def secrets(stack: str, wished: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return for each secret that a service uses whether it carries the inventory's value."""
    contents = {each["name"]: str(each["content"]) for each in wished}
    labels = {
        each["Spec"]["Name"]: each["Spec"].get("Labels") or {}
        for each in docker_objects("secret", [])
    }
    rows = []
    for service in docker_objects("service", [f"label=com.docker.stack.namespace={stack}"]):
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


def _not_after(path: Path) -> int:
    return int(collect.certificates.not_after(path.read_text(encoding="utf-8")))


def certificates() -> list[dict[str, Any]]:
    """Return when the certificates that the node uses expire, in seconds since 1970."""
    rows = []
    for path in [SWARM_CERTIFICATE, *sorted(OWN_CERTIFICATES.glob("**/*.crt"))]:
        if not path.is_file():
            continue
        ends = collect.known(partial(_not_after, path), None)
        rows.append({"path": str(path), "expires": ends})
    return rows


def own_addresses() -> list[str]:
    """Return the addresses of this host's interfaces."""
    links = json.loads(run(["ip", "-j", "address"], timeout=20))
    return sorted(str(each["local"]) for link in links for each in link.get("addr_info", []))


def firewall(
    ports: list[dict[str, Any]],
    addresses: list[dict[str, Any]],
    own: list[str],
    wanted: bool,
) -> dict[str, Any]:
    """Return what this host's firewalls do with who is to reach the ports."""
    listed = json.loads(run(["nft", "--json", "list", "ruleset"], timeout=30))
    ruleset = nft_trace.Ruleset(listed)
    rows = []
    for each in strangers(addresses, own):
        port = next((p for p in ports if p["published"] == each["port"]), None)
        if port is None:
            continue
        target, protocol = int(port["target"]), str(port.get("protocol") or "tcp")
        for block in ruleset.blocks(each["port"], target, each["address"], protocol)[:1]:
            rows.append({**each, **block._asdict(), "sets": list(block.sets)})
    return {
        "wanted": wanted,
        "table": ruleset.has_table(port_rules.TABLE_FAMILY, port_rules.TABLE_NAME),
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
        **(_other_firewalls(ports) if wanted else {}),
    }


def _other_firewalls(ports: list[dict[str, Any]]) -> dict[str, Any]:
    # A name without an address must not hide the other ports.
    rules = port_rules.normalise([port for port in ports if not port_rules.problems([port])])
    found: dict[str, Any] = {"ufw": [], "firewalld": []}
    configuration = Path("/etc/ufw/ufw.conf")
    if configuration.is_file() and host_firewalls.ufw_is_active(configuration.read_text()):
        known = host_firewalls.ufw_rules(run(["ufw", "show", "added"], timeout=20))
        wished = host_firewalls.ufw_wished(rules, ipv6=False)
        found["ufw"] = sorted({rule.port for rule in wished - known.ours - known.others})
    if shutil.which("firewall-cmd") and _firewalld_runs():
        zones = host_firewalls.firewalld_zones(
            run(["firewall-cmd", "--list-all-zones"], timeout=20)
        )
        default = run(["firewall-cmd", "--get-default-zone"], timeout=20).strip()
        for zone in host_firewalls.zones_to_open(zones, default):
            there = zones[zone].rich_rules if zone in zones else frozenset()
            missing = host_firewalls.firewalld_rules(rules) - there
            found["firewalld"] += sorted(
                {rule.published for rule in rules for m in missing if f'"{rule.published}"' in m}
            )
    return found


def _firewalld_runs() -> bool:
    if service_manager() == "systemd":
        return collect.is_active("firewalld.service")
    try:
        run(["firewall-cmd", "--quiet", "--state"], timeout=20)
    except CommandError:
        return False
    return True


def log_of(stack: str, service: str, since: str) -> list[str]:
    """Return the last lines of a service's log, with the engine's time before each."""
    # Docker prints what a program wrote to its standard error to its own.
    done = run(
        ["sh", "-c", 'exec "$@" 2>&1', "sh", "docker", "service", "logs", "--raw", "--timestamps"]
        + ["--since", since, "--tail", str(LOG_LINES), f"{stack}_{service}"],
        timeout=60,
    )
    return done.splitlines()


def clock() -> dict[str, Any]:
    """Return this host's time, in seconds since 1970, and whether somebody keeps it right."""
    synchronized = "unknown"
    if service_manager() == "systemd":
        try:
            shown = ["timedatectl", "show", "--property", "NTPSynchronized", "--value"]
            synchronized = run(shown, timeout=10).strip() or "unknown"
        except CommandError:
            pass
    return {"now": time.time(), "synchronized": synchronized}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "where": {"type": "str", "required": True},
            "stack": {"type": "str", "default": "auscat"},
            "services": {"type": "list", "elements": "str", "required": True},
            "ports": {"type": "list", "elements": "dict", "required": True},
            "directories": {"type": "list", "elements": "dict", "required": True},
            # The task sets no_log; here it would censor each value wherever it occurs.
            "secrets": {"type": "list", "elements": "dict", "required": True, "no_log": False},
            "addresses": {"type": "list", "elements": "dict", "default": []},
            "limited": {"type": "bool", "default": True},
            "ctp": {"type": "dict", "default": {}},
            "orthanc": {"type": "dict", "default": {}},
            "keydb": {"type": "dict", "default": {}, "no_log": False},
            "since": {"type": "str", "default": "24h"},
        },
        supports_check_mode=True,
    )
    p = module.params
    seen: dict[str, Any] = {
        "host": p["where"],
        "stack": p["stack"],
        "reached": True,
        "clock": clock(),
    }
    logs: dict[str, str] = {}

    def look(name: str, question: Callable[[], Any]) -> Any:
        """Note what a question gives; what cannot be answered is None."""
        try:
            seen[name] = question()
        except Exception as error:  # one broken part must not hide the others
            seen[name] = None
            # The text could hold anything; the class does not.
            seen.setdefault("unanswered", {})[name] = type(error).__name__
        return seen[name]

    here, stack = p["services"], p["stack"]
    look("system", operating_system)
    look("disks", lambda: disks(p["directories"]))
    look("certificates", certificates)
    own = look("own_addresses", own_addresses) or []
    look("firewall", lambda: firewall(p["ports"], p["addresses"], own, p["limited"]))
    if look("engine", engine_state) == "running":
        look("services", lambda: services(stack, here))
        look("secrets", lambda: secrets(stack, p["secrets"]))
        if "keydb" in here:
            look("keydb", lambda: keydb(stack, p["keydb"]))
        if "ctp" in here:
            look("ctp", lambda: ctp(p["ctp"]))
            look("echo", lambda: echo(f"{stack}_ctp", p["ctp"]))
        if "orthanc" in here:
            look("orthanc", lambda: orthanc(p["orthanc"]))
        for service in seen.get("services") or {}:
            lines = look("log", partial(log_of, stack, service, p["since"]))
            # Of a log that could not be read nobody can say that it holds no refusal.
            if lines is None:
                continue
            logs[service] = safe_log.passed_on(lines)
            # The gate is where senders are; behind it CTP sees the gate alone.
            if service == "ctp_gate" or (service == "ctp" and "ctp_gate" not in seen["services"]):
                seen["refusals"] = safe_log.refusals(lines)
        seen.pop("log", None)
    module.exit_json(changed=False, seen=seen, logs=logs)


if __name__ == "__main__":
    main()
