"""Read the state of a node: its engine, services, disks, certificates, clock and firewall.

No password is kept on the host for this. Those of Orthanc and CTP are read from the containers,
which hold them as files, and are forgotten with the process. Only counts, ages and words of this
project are taken over from what a service tells.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import certificates, memory, rules

LABEL_STACK = "com.docker.stack.namespace"
LABEL_SERVICE = "com.docker.swarm.service.name"
SWARM_CERTIFICATE = Path("/var/lib/docker/swarm/certificates/swarm-node.crt")
CA_DIRECTORY = Path("/usr/local/share/ca-certificates/auscat")
FIREWALL_TABLE = "inet auscat"
ENGINE = "docker.service"
FIREWALL_UNIT = "auscat-firewall.service"
TIMER = "auscat-status.timer"
SAMPLER = "auscat-status.service"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
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


class UnknownError(Exception):
    """Something that cannot be read now."""


def run(*arguments: str, stdin: str | None = None, timeout: float = 15) -> str:
    """Run a program and return what it prints; never with a secret among its arguments.

    Raises:
        UnknownError: it is missing, failed or took too long.
    """
    try:
        done = subprocess.run(
            arguments,
            input=stdin if stdin is not None else "",
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env={"PATH": PATH, "LC_ALL": "C", "HOME": "/root"},
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnknownError(f"{arguments[0]}: {type(error).__name__}") from error
    if done.returncode:
        raise UnknownError(f"{' '.join(arguments[:3])} ended with code {done.returncode}")
    return done.stdout


def known(read: Callable[[], Any], otherwise: Any) -> Any:
    """Return what is read, or the second where that fails."""
    try:
        return read()
    except (UnknownError, OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return otherwise


def state(settings: Mapping[str, Any], sampling: bool = False) -> dict[str, Any]:
    """Return the state of this host, as rules.evaluate takes it.

    Args:
        settings: see the role status, vars/main.yml.
        sampling: this is the timer's own run, whose sample comes only now.
    """
    version = known(engine, "")
    services = known(lambda: _services(settings), {}) if version else {}
    containers = {name: service.pop("container") for name, service in services.items()}
    asked = {
        "ctp": lambda: _ctp(settings["ctp"], containers.get("ctp", "")),
        "orthanc": lambda: _orthanc(settings["orthanc"], containers.get("orthanc", "")),
        "keydb": lambda: _keydb(settings["keydb"], containers.get("keydb", "")),
    }
    figures: dict[str, Any] = {
        name: known(ask, {"answers": False}) if settings.get(name) else None
        for name, ask in asked.items()
    }
    for name, answer in figures.items():
        if answer and answer.get("version") and name in services:
            services[name]["version"] = answer["version"]
    return {
        "time": time.time(),
        "node": settings["node"],
        "environment": settings["environment"],
        "system": _system(),
        "engine": version,
        "services": services,
        **figures,
        "volumes": _volumes(settings["paths"]),
        "certificates": _certificates(settings),
        "clock": _clock(),
        "firewall": _firewall(settings["firewall"]),
        "proof": _report(Path(settings["directory"]) / "proof.json"),
        "backup": {
            kind: _report(Path(settings["directory"]) / "backup" / f"{kind}.json")
            for kind in settings["backup_kinds"]
        },
        "sampler": _sampler(settings, sampling),
    }


def _systemd() -> bool:
    return Path("/run/systemd/system").is_dir()


def is_active(unit: str) -> bool:
    """Tell whether systemd runs a unit. Whoever asks the unit itself instead may start it."""
    return _systemd() and known(lambda: bool(run("systemctl", "is-active", unit)), False)


def engine() -> str:
    """Return the version of the engine.

    Where its service does not run, nobody may connect to its socket: systemd starts the service for
    that, waits for a disk that is missing, and begins anew for as long as the machine runs.

    Raises:
        UnknownError: it does not run or does not answer.
    """
    if _systemd():
        run("systemctl", "is-active", ENGINE)
    return run("docker", "version", "--format", "{{.Server.Version}}").strip()


def _system() -> dict[str, str]:
    text = known(lambda: Path("/etc/os-release").read_text(encoding="utf-8"), "")
    name = re.search(r'^PRETTY_NAME="?([^"\n]*)', text, re.MULTILINE)
    return {
        "os": name[1] if name else "unknown",
        "kernel": platform.release(),
        "service_manager": "systemd" if _systemd() else "none",
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


def _services(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    stack = settings["stack"]
    label = f"--filter=label={LABEL_STACK}={stack}"
    listed = _inspected("service", run("docker", "service", "ls", "--quiet", label).split())
    present = _inspected("container", run("docker", "ps", "--quiet", label).split())
    tasks, ran = _tasks([each["ID"] for each in listed])
    killed = known(_memory_kills, {})
    images = {
        each["Id"]: each
        for each in known(lambda: _inspected("image", {each["Image"] for each in present}), [])
    }
    absent = {
        "desired": 1,
        "running": 0,
        "health": "none",
        "since": None,
        "failures": [],
        "memory_kills": [],
        "image": "",
        "image_created": None,
        "image_id": "",
        "version": "",
        "container": "",
    }
    found = {name: dict(absent, failures=[], memory_kills=[]) for name in settings["services"]}
    for service in listed:
        specification = service["Spec"]
        full = specification["Name"]
        name = full[len(stack) + 1 :]
        own = [each for each in present if each["Config"]["Labels"].get(LABEL_SERVICE) == full]
        healths = [each["State"].get("Health", {}).get("Status", "none") for each in own]
        worst = next((h for h in ("unhealthy", "starting", "healthy") if h in healths), "none")
        entry = {
            **absent,
            "desired": specification["Mode"].get("Replicated", {}).get("Replicas", 1),
            "running": len(own),
            "health": worst,
            "failures": tasks.get(service["ID"], []),
            "memory_kills": memory.of_containers(
                killed, {*ran.get(service["ID"], []), *(each["Id"] for each in own)}
            ),
            "image": specification["TaskTemplate"]["ContainerSpec"]["Image"],
        }
        # Whoever scales a service of the node to none wants it to be noticed.
        if name in settings["services"]:
            entry["desired"] = max(1, entry["desired"])
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
        found[name] = entry
    return found


def _memory_kills() -> dict[str, list[float]]:
    now = time.time()
    return memory.kills(run("dmesg"), memory.booted(now))


def _tasks(services: Sequence[str]) -> tuple[dict[str, list[float]], dict[str, list[str]]]:
    """Return when containers ended that should not have, and which there were, by service.

    Swarm keeps the last few.
    """
    if not services:
        return {}, {}
    ids = run("docker", "service", "ps", "--quiet", "--no-trunc", *services).split()
    found: dict[str, list[float]] = {}
    containers: dict[str, list[str]] = {}
    # As --type task, which the engine's own command for tasks does not offer. A task may be gone.
    for task in known(lambda: json.loads(run("docker", "inspect", "--type=task", *ids)), []):
        container = (task["Status"].get("ContainerStatus") or {}).get("ContainerID")
        if container:
            containers.setdefault(task["ServiceID"], []).append(container)
        ended = task["Status"]["State"] in ("failed", "rejected", "orphaned", "complete")
        when = seconds(task["Status"]["Timestamp"])
        if ended and when:
            found.setdefault(task["ServiceID"], []).append(when)
    return {service: sorted(times) for service, times in found.items()}, containers


# What the services tell


def _inside(container: str, *command: str) -> str:
    if not container:
        raise UnknownError("no container")
    return run("docker", "exec", container, *command)


def _get(url: str, user: str, password: str) -> Any:
    """Ask this host for a JSON document. The proxies of the environment lead elsewhere."""
    request = urllib.request.Request(url)
    if user:
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {login}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=8) as answer:
        return json.loads(answer.read())


def _number(value: Any) -> int | float | None:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if plain else None


def _orthanc(settings: Mapping[str, Any], container: str) -> dict[str, Any]:
    secret = json.loads(_inside(container, "cat", "/run/secrets/orthanc.json"))
    users = secret.get("RegisteredUsers") or {}
    user, password = next(iter(users.items()), ("", ""))
    system = _get(f"{settings['url']}/system", user, password)
    statistics = _get(f"{settings['url']}/statistics", user, password)
    version = str(system.get("Version", ""))
    return {
        "answers": True,
        "version": version if VERSION.match(version) else "",
        "index": "PostgreSQL" if system.get("DatabaseBackendPlugin") else "SQLite",
        "patients": int(statistics["CountPatients"]),
        "studies": int(statistics["CountStudies"]),
        "series": int(statistics["CountSeries"]),
        "instances": int(statistics["CountInstances"]),
        "bytes": int(statistics["TotalDiskSize"]),
    }


def _ctp(settings: Mapping[str, Any], container: str) -> dict[str, Any]:
    password = _inside(container, "cat", "/run/secrets/ctp_admin_pass")
    return ctp_figures(_get(f"{settings['url']}/api/status", "admin", password))


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
    return {
        "answers": True,
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
        "reception_open": told["reception"] == "open" if "reception" in told else None,
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


def _keydb(settings: Mapping[str, Any], container: str) -> dict[str, Any]:
    # As the container's superuser over its own socket; the user's name stays there.
    script = (
        "exec psql --no-psqlrc --quiet --tuples-only --no-align --no-password"
        ' --set=ON_ERROR_STOP=1 --dbname=key_db --username="$(cat /run/secrets/keydb_user)"'
    )
    table = ".".join(f'"{part}"' for part in settings["table"].replace('"', "").split("."))
    query = (
        "SELECT current_setting('server_version_num'), count(*), "
        f"pg_database_size(current_database()) FROM {table}"
    )
    if not container:
        raise UnknownError("no container")
    printed = run("docker", "exec", "--interactive", container, "sh", "-c", script, stdin=query)
    number, patients, size = printed.strip().split("|")
    return {
        "answers": True,
        # server_version_num: 150009 is 15.9.
        "version": f"{int(number) // 10000}.{int(number) % 10000}",
        "patients": int(patients),
        "bytes": int(size),
    }


# The machine


def _volumes(paths: Iterable[str]) -> list[dict[str, Any]]:
    """Return each file system that holds one of the paths once, named after its mount point."""
    found: dict[int, dict[str, Any]] = {}
    for name in paths:
        path = Path(name)
        try:
            device = path.stat().st_dev
            while path != path.parent and path.parent.stat().st_dev == device:
                path = path.parent
            numbers = os.statvfs(path)
        except OSError:
            continue
        found.setdefault(
            device,
            {
                "mount": str(path),
                "size": numbers.f_blocks * numbers.f_frsize,
                "free": numbers.f_bavail * numbers.f_frsize,
                "inodes": numbers.f_files,
                "inodes_free": numbers.f_favail,
            },
        )
    return sorted(found.values(), key=lambda each: str(each["mount"]))


def _certificates(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    files = [SWARM_CERTIFICATE] if SWARM_CERTIFICATE.exists() else []
    files += sorted(CA_DIRECTORY.glob("*.crt"))
    files += [Path(each) for each in settings["certificates"]]
    found = []
    for file in files:
        name = "Swarm" if file == SWARM_CERTIFICATE else str(file)
        ends = known(lambda file=file: certificates.not_after(file.read_text()), None)  # type: ignore[misc]
        found.append({"name": name, "not_after": ends})
    for port in settings["tls_ports"]:
        ends = known(lambda p=port: certificates.not_after(certificates.served_by(p)), None)  # type: ignore[misc]
        found.append({"name": f"port {port}", "not_after": ends})
    return found


def _clock() -> dict[str, Any]:
    """Return who sets the clock, whether that works, and how far off it is where that is known."""
    try:
        # Comma-separated: chronyc(1). 4: seconds of system time against NTP time; the last: leap.
        fields = run("chronyc", "-c", "tracking").strip().split(",")
        done = fields[-1] != "Not synchronised"
        offset = float(fields[4]) if done else None
        return {"source": "chrony", "synchronised": done, "offset_seconds": offset}
    except (UnknownError, ValueError, IndexError):
        pass
    try:
        shown = run("timedatectl", "show", "--property=NTP", "--property=NTPSynchronized")
        values = dict(line.split("=", 1) for line in shown.split())
        if values["NTP"] == "yes":
            done = values["NTPSynchronized"] == "yes"
            return {"source": "systemd", "synchronised": done, "offset_seconds": None}
    except (UnknownError, ValueError, KeyError):
        pass
    return {"source": "unknown", "synchronised": None, "offset_seconds": None}


def _firewall(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Compare the loaded rules with the installed file, as nft lists both."""
    shown = ("nft", "--stateless", "list", "table", *FIREWALL_TABLE.split())
    live = known(lambda: run(*shown), "")
    installed = ""
    if live:
        # Loaded into an empty network namespace, which vanishes with the command.
        script = f"nft --file - && exec {' '.join(shown)}"
        installed = known(
            lambda: run(
                "unshare", "--net", "sh", "-c", script, stdin=Path(settings["path"]).read_text()
            ),
            "",
        )
    enabled = None
    if _systemd():
        enabled = (
            known(lambda: run("systemctl", "is-enabled", FIREWALL_UNIT), "").strip() == "enabled"
        )
    return {
        "wanted": bool(settings["wanted"]),
        "loaded": bool(live),
        "equal": bool(live) and live == installed,
        "enabled": enabled,
    }


def _report(path: Path) -> dict[str, Any] | None:
    """Return what another command of the node noted, None where it never did. Texts are left out:
    nobody knows what is in an error."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        kept = {
            key: found[key]
            for key in ("finished", "ok", "passed", "checks", "bytes_added", "max_age_hours")
            if isinstance(found.get(key), (bool, int, float))
            or (key == "finished" and rules.moment(found.get(key)) is not None)
        }
        failed = found.get("failed")
        return {**kept, "failed": len(failed) if isinstance(failed, list) else 0}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError):
        return {"failed": 0}


def _sampler(settings: Mapping[str, Any], sampling: bool) -> dict[str, Any]:
    expected = bool(settings["timer"]) and _systemd()
    active = failed = False
    if expected:
        active = known(lambda: bool(run("systemctl", "is-active", TIMER)), False)
        shown = known(lambda: run("systemctl", "show", SAMPLER, "--property=Result"), "")
        failed = not sampling and shown.strip() not in ("Result=success", "")
    return {
        "expected": expected,
        "active": active,
        "failed": failed,
        "now": sampling,
        "interval_minutes": settings["interval_minutes"],
        "possible": shutil.which("systemctl") is not None and _systemd(),
    }
