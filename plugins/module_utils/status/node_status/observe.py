"""Read what a machine of a node is like: the one place for the sampler, `status`, `troubleshoot`.

Engine, services, disks, CTP, Orthanc, KeyDB, certificates, clock and firewall. Nothing is started,
changed or waited for by looking at it, and each part can be read without the others. Only counts,
ages and words of this project are taken over from what a service tells. What a service is asked
with (its login) comes from the caller.

Of CTP, Orthanc and KeyDB each is told as ``answers`` (whether it does), ``login`` (whether it lets
the caller in), ``told`` (whether its figures are there) and, where they are, the figures.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import platform
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from . import certificates as certificate_files
from . import memory, rules
from .command import UnknownError, is_active, known, run, systemd

LABEL_STACK = "com.docker.stack.namespace"
LABEL_SERVICE = "com.docker.swarm.service.name"
SWARM_CERTIFICATE = Path("/var/lib/docker/swarm/certificates/swarm-node.crt")
FIREWALL_TABLE = "inet auscat"
ENGINE = "docker.service"
FIREWALL_UNIT = "auscat-firewall.service"
#: How our table has a port's rule.
LIMITED_PORT = re.compile(r"jump (tcp|udp)_(\d+)")
REASONS = (
    "unreadable",
    "missing-patient-id",
    "ambiguous-patient-id",
    "incomplete",
    "unknown-patient",
    "other-issuer",
    "known-patient",
    "pixels-not-declared",
    "pixels-not-blanked",
    "burned-in-annotation",
    "sop-class-not-accepted",
    "refused-by-profile",
    "residual-identifier",
    "refused-by-orthanc",
    "ended-ctp",
)
#: Why an object is held back, in the words of this project.
HELD_BACK = re.compile(
    r"(?:Orthanc|CTP) [a-z0-9 ]{1,60}, \d{1,3} times; \d{1,7} MiB(?: or more)?"
    r"(?:, SOP class [0-9.]{1,64})?\Z"
)
#: Preset and options of a pipeline (`ctp.config.said`).
DEIDENTIFICATION = re.compile(r"[a-z][a-z0-9_]{0,30}: [a-z]{1,20}(?:, [a-z0-9_: .]{1,60}){0,12}\Z")
#: A pseudonym, and nothing with the blanks and signs of a name.
PSEUDONYM = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,63}\Z")
STUDY_FIGURES = (
    *("studies", "complete", "arriving", "waiting", "incomplete", "unknown"),
    *("deleted", "mixed", "mixed_age_seconds", "unplaced"),
)
STUDY_STATES = ("broken off", "held back", "not found", "waiting", "announced")
#: A version, and nothing that could be a name, an address or an identifier of a patient.
VERSION = re.compile(r"[0-9][0-9A-Za-z.+~:-]{0,30}\Z")


#: What the engine says of a task that did not run, in words of this project.
TASK_ERRORS = {
    "no suitable node": "no suitable machine",
    "bind source path does not exist": "a data directory is missing",
    "no such image": "the image is missing",
    "port is already allocated": "a port is in use by another program",
    "address already in use": "a port is in use by another program",
    "non-zero exit": "it ended with an error",
    "unhealthy": "it became unhealthy",
    "no space left": "the disk is full",
    "starting container failed": "the container could not be started",
}
SECONDS = 8.0
"""How long a service's page is waited for."""


def engine_installed() -> bool:
    """Tell whether there is a Docker on this host."""
    return shutil.which("docker") is not None


def engine() -> str:
    """Return the version of the engine.

    Where its service does not run, nobody may connect to its socket: systemd starts the service for
    that, waits for a disk that is missing, and begins anew for as long as the machine runs.

    Raises:
        UnknownError: it does not run or does not answer.
    """
    if systemd() and not is_active(ENGINE):
        raise UnknownError(f"{ENGINE} is not active")
    return run("docker", "version", "--format", "{{.Server.Version}}").strip()


def swarm_locked() -> bool:
    """Tell whether the Swarm waits for its unlock key (autolock), so that no service of it runs.

    Raises:
        UnknownError: the engine does not answer.
    """
    return run("docker", "info", "--format", "{{.Swarm.LocalNodeState}}").strip() == "locked"


def system() -> dict[str, str]:
    """Return what runs below all of this."""
    text = known(lambda: Path("/etc/os-release").read_text(encoding="utf-8"), "")
    name = re.search(r'^PRETTY_NAME="?([^"\n]*)', text, re.MULTILINE)
    return {
        "os": name[1] if name else "unknown",
        "kernel": platform.release(),
        "service_manager": "systemd" if systemd() else "none",
    }


# Services


def _inspected(kind: str, names: Iterable[str]) -> list[Any]:
    listed = [name for name in names if name]
    found: list[Any] = json.loads(run("docker", kind, "inspect", *listed)) if listed else []
    return found


def seconds(text: str) -> float | None:
    """Return the engine's RFC 3339 time in seconds since 1970, None for none."""
    # Nine digits of a second, which Python before 3.11 does not read.
    found = rules.moment(re.sub(r"\.(\d{6})\d*", r".\1", text or ""))
    return found if found and found > 0 else None


def task_error(text: str) -> str:
    """Return an error of Swarm in words of ours; the engine's own could hold anything."""
    for part, told in TASK_ERRORS.items():
        if part in text.lower():
            return told
    return "another error" if text.strip() else ""


def services(stack: str, expected: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return how each service of a stack is, and each that is expected here, by plain name.

    Each has deployed, replicas (0: scaled to none), running (containers), health (the worst of
    them), since, failures (when tasks ended that should not have: Swarm keeps the last few),
    memory_kills (when the kernel killed something in them), memory_limit_mib (None: none), error
    (of its newest task that has one, in words of ours), image, image_created, image_id, version and
    container (an id; empty: none runs). Times are in seconds since 1970.

    Raises:
        UnknownError: the engine does not answer.
    """
    label = f"--filter=label={LABEL_STACK}={stack}"
    listed = _inspected("service", run("docker", "service", "ls", "--quiet", label).split())
    present = _inspected("container", run("docker", "ps", "--quiet", label).split())
    tasks = _tasks([each["ID"] for each in listed])
    killed = known(_memory_kills, {})
    images = {
        each["Id"]: each
        for each in known(lambda: _inspected("image", {each["Image"] for each in present}), [])
    }
    found = {name: _absent() for name in expected}
    for service in listed:
        full = service["Spec"]["Name"]
        own = [each for each in present if each["Config"]["Labels"].get(LABEL_SERVICE) == full]
        found[full[len(stack) + 1 :]] = _service(
            service, own, tasks.get(service["ID"], []), killed, images
        )
    return found


def _absent() -> dict[str, Any]:
    return {
        "deployed": False,
        "replicas": 0,
        "running": 0,
        "health": "none",
        "since": None,
        "failures": [],
        "memory_kills": [],
        "memory_limit_mib": None,
        "error": "",
        "image": "",
        "image_created": None,
        "image_id": "",
        "version": "",
        "container": "",
    }


def _service(
    service: Mapping[str, Any],
    own: Sequence[Mapping[str, Any]],
    tasks: Sequence[Mapping[str, Any]],
    killed: dict[str, list[float]],
    images: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    specification = service["Spec"]
    template = specification["TaskTemplate"]
    healths = [each["State"].get("Health", {}).get("Status", "none") for each in own]
    limit = ((template.get("Resources") or {}).get("Limits") or {}).get("MemoryBytes")
    ran = [(each["Status"].get("ContainerStatus") or {}).get("ContainerID") for each in tasks]
    entry = {
        **_absent(),
        "deployed": True,
        "replicas": specification["Mode"].get("Replicated", {}).get("Replicas", 1),
        "running": len(own),
        "health": next((h for h in ("unhealthy", "starting", "healthy") if h in healths), "none"),
        "failures": _ended(tasks),
        "memory_kills": memory.of_containers(
            killed, {*(each for each in ran if each), *(each["Id"] for each in own)}
        ),
        "memory_limit_mib": limit // 2**20 if limit else None,
        "error": _newest_error(tasks),
        "image": template["ContainerSpec"]["Image"],
    }
    if own:
        image = images.get(own[0]["Image"], {})
        labels = (image.get("Config") or {}).get("Labels") or {}
        version = labels.get("org.opencontainers.image.version", "")
        entry.update(
            container=own[0]["Id"],
            since=max(seconds(each["State"]["StartedAt"]) or 0 for each in own) or None,
            image_created=seconds(image.get("Created", "")),
            image_id=str(own[0]["Image"]).removeprefix("sha256:")[:12],
            version=version if VERSION.match(version) else "",
        )
    return entry


def _memory_kills() -> dict[str, list[float]]:
    now = time.time()
    return memory.kills(run("dmesg"), memory.booted(now))


def _tasks(services: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return what Swarm still knows of the tasks of services, by service."""
    if not services:
        return {}
    ids = run("docker", "service", "ps", "--quiet", "--no-trunc", *services).split()
    found: dict[str, list[dict[str, Any]]] = {}
    # As --type task, which the engine's own command for tasks does not offer. A task may be gone.
    for task in known(lambda: json.loads(run("docker", "inspect", "--type=task", *ids)), []):
        found.setdefault(task["ServiceID"], []).append(task)
    return found


def _ended(tasks: Iterable[Mapping[str, Any]]) -> list[float]:
    """Return when containers ended that should not have."""
    moments = [
        seconds(task["Status"]["Timestamp"])
        for task in tasks
        if task["Status"]["State"] in ("failed", "rejected", "orphaned", "complete")
    ]
    return sorted(moment for moment in moments if moment)


def _newest_error(tasks: Iterable[Mapping[str, Any]]) -> str:
    told = [each["Status"] for each in tasks if each["Status"].get("Err")]
    newest = max(told, key=lambda status: seconds(status["Timestamp"]) or 0, default=None)
    return task_error(newest["Err"]) if newest else ""


# What the services tell


def secret(container: str, name: str) -> str:
    """Return what a container holds as a secret.

    Raises:
        UnknownError: there is no container, or it does not hold that.
    """
    if not container:
        raise UnknownError("no container")
    return run("docker", "exec", container, "cat", f"/run/secrets/{name}")


def ask(
    page: Mapping[str, Any], path: str, user: str, password: str, timeout: float = SECONDS
) -> tuple[int, bytes]:
    """Ask this host for a page, by its status and content.

    Args:
        page: ``url`` and, with HTTPS, ``trust``: ``ca_file`` (PEM; empty: the system's) and
            ``name``, which the certificate has to be for (empty: the one in the URL).
        path: below the URL.

    Raises:
        UnknownError: no answer, none of HTTP, or that of a server which is not to be trusted.
    """
    url = f"{page['url']}{path}"
    request = urllib.request.Request(url)
    if user:
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {login}")
    # The proxies of the environment lead elsewhere.
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    try:
        if url.startswith("https:"):
            handlers.append(urllib.request.HTTPSHandler(context=_trusting(page.get("trust") or {})))
        opener = urllib.request.build_opener(*handlers)
        with opener.open(request, timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        error.close()
        return error.code, b""
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UnknownError(f"no answer: {type(error).__name__}") from error


class _Context(ssl.SSLContext):
    """Checks that a certificate is for a name, whatever stands in the URL."""

    name = ""

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        """See the class above this one in the standard library."""
        if self.name:
            options["server_hostname"] = self.name
        return super().wrap_socket(*args, **options)


def _trusting(trust: Mapping[str, str]) -> ssl.SSLContext:
    # As host/http.py, which is not among the files of this program.
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.name = trust.get("name") or ""
    if trust.get("ca_file"):
        context.load_verify_locations(cafile=trust["ca_file"])
    else:
        context.load_default_certs()
    return context


def _page(
    page: Mapping[str, Any], path: str, user: str, password: str, timeout: float
) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Return whether a service answers and lets the caller in, and the JSON that it tells."""
    try:
        status, content = ask(page, path, user, password, timeout)
    except UnknownError:
        return {"answers": False, "login": None, "told": False}, {}
    if status in (401, 403):
        return {"answers": True, "login": False, "told": False}, {}
    if status != 200:
        return {"answers": False, "login": None, "told": False, "status": status}, {}
    return {"answers": True, "login": True, "told": True}, json.loads(content)


def _number(value: Any) -> int | float | None:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if plain else None


def orthanc(
    page: Mapping[str, Any], user: str, password: str, timeout: float = SECONDS
) -> dict[str, Any]:
    """Return how much Orthanc holds.

    Raises:
        ValueError, KeyError: what answers is not Orthanc.
    """
    found, statistics = _page(page, "/statistics", user, password, timeout)
    if not found["told"]:
        return found
    found, told = _page(page, "/system", user, password, timeout)
    if not found["told"]:
        return found
    version = str(told.get("Version", ""))
    return {
        **found,
        "version": version if VERSION.match(version) else "",
        "index": "PostgreSQL" if told.get("DatabaseBackendPlugin") else "SQLite",
        "patients": int(statistics["CountPatients"]),
        "studies": int(statistics["CountStudies"]),
        "series": int(statistics["CountSeries"]),
        "instances": int(statistics["CountInstances"]),
        "bytes": int(statistics["TotalDiskSize"]),
    }


def ctp(page: Mapping[str, Any], password: str, timeout: float = SECONDS) -> dict[str, Any]:
    """Return the figures of CTP's page: of the supervisor, or of the stand-in alone.

    Raises:
        ValueError, KeyError: what answers is neither.
    """
    found, told = _page(page, "/api/status", "admin", password, timeout)
    return ctp_figures(told) if found["told"] else found


def ctp_that_tells_nothing(
    page: Mapping[str, Any], password: str, timeout: float = SECONDS
) -> dict[str, Any]:
    """Return the same of the AusCAT image, whose page has no figures: only whether it answers."""
    try:
        ask(page, "/", "admin", password, timeout)
    except UnknownError:
        return {"answers": False, "login": None, "told": False}
    return {"answers": True, "login": None, "told": False}


def ctp_figures(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of what CTP's supervisor or the stand-in tells at /api/status."""
    reasons: dict[str, int] = {}
    for each in told.get("quarantine") or []:
        reason = each.get("reason") if each.get("reason") in REASONS else "other"
        reasons[reason] = reasons.get(reason, 0) + 1
    pipelines = told.get("pipelines")
    ages = [_number(each.get("oldest_seconds")) for each in pipelines or []]
    keydb = told.get("keydb") or {}
    version = str(told.get("version", "")).rpartition(" ")[2].lstrip("v")
    reception = str(told.get("reception", ""))
    waits_for = str(told.get("waiting_for", ""))
    return {
        "answers": True,
        "login": True,
        "told": True,
        "standin": told.get("standin") is True,
        "version": version if VERSION.match(version) else "",
        "received": _number(told.get("received")),
        "forwarded": _number(told.get("forwarded")),
        "queued": _number(told.get("queued")),
        "import_queue": sum(each["import_queue"] for each in pipelines) if pipelines else None,
        "export_queue": sum(each["export_queue"] for each in pipelines) if pipelines else None,
        "oldest_seconds": max((age for age in ages if age is not None), default=None),
        "quarantined": _number(told.get("quarantined")),
        "quarantine": reasons,
        "held_back": [
            each
            for each in told.get("held_back") or []
            if isinstance(each, str) and HELD_BACK.match(each)
        ],
        "deidentification": [
            each
            for each in told.get("deidentification") or []
            if isinstance(each, str) and DEIDENTIFICATION.match(each)
        ],
        "studies": _account(told.get("studies")),
        "reception_open": reception == "open" if "reception" in told else None,
        "short_of_space": "MiB free" in reception,
        "free_mib": _number(told.get("free_mib")),
        "frozen": told.get("frozen") is True,
        "waits_for_orthanc": "Orthanc" in waits_for,
        "keydb_age_seconds": _number(keydb.get("age_seconds")),
        "keydb_patients": _number(keydb.get("patients")),
    }


def _account(told: Any) -> dict[str, Any] | None:
    """Return what is kept of the account of studies; None of a CTP that keeps none."""
    if not isinstance(told, Mapping):
        return None
    rows = told.get("rows")
    return {
        **{name: _number(told.get(name)) for name in STUDY_FIGURES},
        "whole": told.get("problem") == "",
        "rows": [_study(each) for each in (rows if isinstance(rows, list) else [])],
    }


def _study(told: Mapping[str, Any]) -> dict[str, Any]:
    pseudonyms = [str(each) for each in told.get("pseudonyms") or []]
    held = sum(_number(n) or 0 for n in (told.get("held") or {}).values())
    counts = {"held": held}
    for name in ("received", "left", "waiting", "broken", "gone"):
        counts[name] = int(_number(told.get(name)) or 0)
    return {
        "pseudonym": ", ".join(each if PSEUDONYM.match(each) else "(?)" for each in pseudonyms),
        "state": told.get("state") if told.get("state") in STUDY_STATES else "unknown",
        **counts,
    }


def psql(container: str, query: str, timeout: float = 15) -> str:
    """Ask KeyDB as its superuser, over the socket that only its container has; read, never write.

    Args:
        container: KeyDB's.
        query: it goes over standard input; a command line can be read by every user of the host.
        timeout: seconds until the answer is given up, here and in the server.

    Raises:
        UnknownError: no container, no answer (code 1 or 2), or an error in the query (code 3).
    """
    if not container:
        raise UnknownError("no container")
    # The user's name stays in the container.
    script = (
        "exec psql --no-psqlrc --quiet --tuples-only --no-align --no-password"
        ' --set=ON_ERROR_STOP=1 --dbname=key_db --username="$(cat /run/secrets/keydb_user)"'
    )
    # Killing docker does not end what it started inside: the server has to give up by itself.
    limits = (
        "-c default_transaction_read_only=on"
        f" -c statement_timeout={max(1, round(timeout) - 5)}s -c lock_timeout=5s"
    )
    environment = [f"--env=PGOPTIONS={limits}", "--env=PGCONNECT_TIMEOUT=5"]
    command = ["docker", "exec", "--interactive", *environment, container, "sh", "-c", script]
    return run(*command, stdin=query, timeout=timeout).strip()


def keydb(container: str, table: str, timeout: float = 15) -> dict[str, Any]:
    """Return how much KeyDB holds.

    Args:
        container: its own.
        table: the table or view of the patients, with or without its schema.
        timeout: seconds.

    Raises:
        UnknownError: there is no container.
        ValueError: what answers is not KeyDB.
    """
    if not container:
        raise UnknownError("no container")
    name = ".".join(f'"{part}"' for part in table.replace('"', "").split("."))
    query = (
        "SELECT current_setting('server_version_num'), count(*), "
        f"pg_database_size(current_database()) FROM {name}"
    )
    try:
        number, patients, size = psql(container, query, timeout).split("|")
    except UnknownError as error:
        # psql: 3 is an error in the query, so that the server is there (psql(1), "Exit Status").
        there = error.code == 3
        return {"answers": there, "login": True if there else None, "told": False}
    return {
        "answers": True,
        "login": True,
        "told": True,
        # server_version_num: 150009 is 15.9.
        "version": f"{int(number) // 10000}.{int(number) % 10000}",
        "patients": int(patients),
        "bytes": int(size),
    }


# The machine


def file_system(path: Path) -> dict[str, Any]:
    """Return the file system that holds a path: device, mount, and its size and space in bytes.

    Raises:
        OSError: there is no such path.
    """
    device = path.stat().st_dev
    while path != path.parent and path.parent.stat().st_dev == device:
        path = path.parent
    numbers = os.statvfs(path)
    return {
        "device": device,
        "mount": str(path),
        "size": numbers.f_blocks * numbers.f_frsize,
        "free": numbers.f_bavail * numbers.f_frsize,
        # File systems that make inodes as needed say 0 of 0.
        "inodes": numbers.f_files,
        "inodes_free": numbers.f_favail,
    }


def volumes(paths: Iterable[str]) -> list[dict[str, Any]]:
    """Return each file system that holds one of the paths once, named after its mount point."""
    found: dict[int, dict[str, Any]] = {}
    for name in paths:
        try:
            row = file_system(Path(name))
        except OSError:
            continue
        found.setdefault(row.pop("device"), row)
    return sorted(found.values(), key=lambda each: str(each["mount"]))


def certificates(
    files: Iterable[Path],
    tls_ports: Iterable[int] = (),
    containers: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Return until when certificates are valid, in seconds since 1970; None: it cannot be read.

    Args:
        files: in PEM.
        tls_ports: of this host.
        containers: names of services to the container of each, which holds the secret ``tls.crt``.
    """
    found = []
    for file in files:
        name = "Swarm" if file == SWARM_CERTIFICATE else str(file)
        ends = known(partial(certificate_files.not_after, file), None)
        found.append({"name": name, "path": str(file), "not_after": ends})
    for port in tls_ports:
        ends = known(partial(certificate_files.served_until, port), None)
        found.append({"name": f"port {port}", "path": "", "not_after": ends})
    for service, container in (containers or {}).items():
        ends = known(partial(_held_until, container), None)
        found.append({"name": service, "path": "", "not_after": ends})
    return found


def _held_until(container: str) -> float:
    return certificate_files.ends(secret(container, "tls.crt"))


def clock() -> dict[str, Any]:
    """Return who sets the clock, whether that works, and how far off it is where that is known.

    `kept` is whether the kernel takes it for right, whoever sets it (None: nobody says).
    """
    try:
        # Comma-separated: chronyc(1). 4: seconds of system time against NTP time; the last: leap.
        fields = run("chronyc", "-c", "tracking").strip().split(",")
        done = fields[-1] != "Not synchronised"
        offset = float(fields[4]) if done else None
        return {"source": "chrony", "synchronised": done, "offset_seconds": offset, "kept": done}
    except (UnknownError, ValueError, IndexError):
        pass
    found = {"source": "unknown", "synchronised": None, "offset_seconds": None, "kept": None}
    try:
        shown = run("timedatectl", "show", "--property=NTP", "--property=NTPSynchronized")
        values = dict(line.split("=", 1) for line in shown.split())
        done = values["NTPSynchronized"] == "yes"
        if values["NTP"] == "yes":
            return {**found, "source": "systemd", "synchronised": done, "kept": done}
        return {**found, "kept": done}
    except (UnknownError, ValueError, KeyError):
        return found


def published(stack: str) -> dict[str, list[str]]:
    """Return what the services of a stack publish now, as 8042/tcp, by the service's full name.

    Raises:
        UnknownError: the engine does not answer.
    """
    label = f"--filter=label={LABEL_STACK}={stack}"
    listed = _inspected("service", run("docker", "service", "ls", "--quiet", label).split())
    return {
        each["Spec"]["Name"]: [
            f"{port['PublishedPort']}/{port.get('Protocol') or 'tcp'}"
            for port in (each.get("Endpoint") or {}).get("Ports") or []
            if port.get("PublishedPort")
        ]
        for each in listed
    }


def firewall(
    wanted: bool, installed: Path | None = None, ports: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """Return whether our rules are loaded, and are those of the installed file, as nft lists both.

    Args:
        wanted: whether the inventory wants them.
        installed: the file; without one, nothing is said of `equal`.
        ports: as `published` returns them. Those without a rule are in `unlimited`.
    """
    shown = ("nft", "--stateless", "list", "table", *FIREWALL_TABLE.split())
    live = known(lambda: run(*shown), "")
    equal = None
    if installed:
        listed = ""
        if live:
            # Loaded into an empty network namespace, which vanishes with the command.
            script = f"nft --file - && exec {' '.join(shown)}"
            listed = known(
                lambda: run("unshare", "--net", "sh", "-c", script, stdin=installed.read_text()),
                "",
            )
        equal = bool(live) and live == listed
    enabled = None
    if systemd():
        enabled = (
            known(lambda: run("systemctl", "is-enabled", FIREWALL_UNIT), "").strip() == "enabled"
        )
    limited = {f"{port}/{protocol}" for protocol, port in LIMITED_PORT.findall(live)}
    unlimited = [
        f"{service} {port}"
        for service, listed in sorted((ports or {}).items())
        for port in listed
        if port not in limited
    ]
    return {
        **{"wanted": wanted, "loaded": bool(live), "equal": equal, "enabled": enabled},
        "unlimited": unlimited,
    }
