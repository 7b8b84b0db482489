"""The state of a node, as the sampler and `status` judge it: what `observe` reads, put together.

No password is kept on the host for this. Those of Orthanc and CTP are read from the containers,
which hold them as files, and are forgotten with the process.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import archive, keeper, notify, observe, rules
from .command import UnknownError, is_active, known, run, systemd

CA_DIRECTORY = Path("/usr/local/share/ca-certificates/auscat")
TIMER = "auscat-status.timer"
SAMPLER = "auscat-status.service"
LOCK = Path("/run/auscat-lock")
#: A playbook that was not heard of for so long holds no machine any more.
SILENT_SECONDS = 300
REPORTED = ("ok", "passed", "checks", "bytes_added", "max_age_hours", "ahead")
REPORTED_TIMES = ("finished", "last_ok")
"""What is taken from the report of another command: numbers and times."""


def state(settings: Mapping[str, Any], sampling: bool = False) -> dict[str, Any]:
    """Return the state of this host, as rules.evaluate takes it.

    Args:
        settings: see the role status, vars/main.yml.
        sampling: this is the timer's own run, whose sample comes only now.
    """
    engine = known(observe.engine, "")
    locked = bool(engine) and known(observe.swarm_locked, False)
    services = known(lambda: _services(settings), {}) if engine and not locked else {}
    containers = {name: service.pop("container") for name, service in services.items()}
    asked = {
        "ctp": lambda: _ctp(settings["ctp"], containers.get("ctp", "")),
        "orthanc": lambda: _orthanc(settings["orthanc"], containers.get("orthanc", "")),
        "keydb": lambda: observe.keydb(containers.get("keydb", ""), settings["keydb"]["table"]),
    }
    figures: dict[str, Any] = {
        name: _told(known(ask, {})) if settings.get(name) else None for name, ask in asked.items()
    }
    for name, answer in figures.items():
        if answer and answer.get("version") and name in services:
            services[name]["version"] = answer["version"]
    swarm = observe.SWARM_CERTIFICATE
    return {
        "time": time.time(),
        "node": settings["node"],
        "environment": settings["environment"],
        "system": observe.system(),
        "engine": engine,
        "swarm_locked": locked,
        "services": services,
        **figures,
        "volumes": observe.volumes(settings["paths"]),
        "certificates": observe.certificates(
            [
                *([swarm] if swarm.exists() else []),
                *sorted(CA_DIRECTORY.glob("*.crt")),
                *(Path(each) for each in settings["certificates"]),
            ],
            settings["tls_ports"],
            {name: containers.get(name, "") for name in settings.get("tls_services", [])},
        ),
        "clock": observe.clock(),
        "firewall": observe.firewall(
            bool(settings["firewall"]["wanted"]),
            Path(settings["firewall"]["path"]),
            known(lambda: observe.published(settings["stack"]), {}) if engine else {},
        ),
        "proof": _report(Path(settings["directory"]) / "proof.json"),
        "backup": {
            kind: _report(Path(settings["directory"]) / "backup" / f"{kind}.json")
            for kind in settings["backup_kinds"]
        },
        "sampler": _sampler(settings, sampling),
        "holder": holder(),
        "notify": notify.seen(settings["notify"], time.time()) if settings.get("notify") else None,
    }


def _told(found: dict[str, Any]) -> dict[str, Any]:
    """Return figures; to the alerts it is one whether a service is silent or lets nobody in."""
    return found if found.get("told") else {"answers": False}


def _services(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found = observe.services(settings["stack"], settings["services"])
    for name, service in found.items():
        service["desired"] = service["replicas"]
        # Whoever scales a service of the node to none wants it to be noticed.
        if name in settings["services"]:
            service["desired"] = max(1, service["replicas"])
    return found


def _ctp(settings: Mapping[str, Any], container: str) -> dict[str, Any]:
    return observe.ctp(settings, observe.secret(container, "ctp_admin_pass"))


def _orthanc(settings: Mapping[str, Any], container: str) -> dict[str, Any]:
    return observe.orthanc(settings, *_orthanc_login(container))


def _orthanc_login(container: str) -> tuple[str, str]:
    configuration = json.loads(observe.secret(container, "orthanc.json"))
    roles = (configuration.get("NodeGuard") or {}).get("Roles") or {}
    users = configuration.get("RegisteredUsers") or {}
    admins = [user for user in users if roles.get(user, "admin") == "admin"]
    user = admins[0] if admins else ""
    return user, str(users.get(user, ""))


def follow_archive(settings: Mapping[str, Any]) -> None:
    """Keep the index of series (`archive`) up to date, where Orthanc is here and answers.

    Raises:
        OSError: it cannot be written.
    """
    if not settings.get("archive"):
        return
    with suppress(UnknownError, ValueError, KeyError):
        found = observe.services(settings["stack"], ["orthanc"])
        login = _orthanc_login(found["orthanc"]["container"])
        archive.follow(settings["orthanc"], *login, Path(settings["archive"]))


def _report(path: Path) -> dict[str, Any] | None:
    """Return what another command of the node noted, None where it never did. Texts are left out:
    nobody knows what is in an error."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        kept = {
            key: found[key] for key in REPORTED if isinstance(found.get(key), (bool, int, float))
        }
        for key in REPORTED_TIMES:
            if rules.moment(found.get(key)) is not None:
                kept[key] = found[key]
        failed = found.get("failed")
        return {**kept, "failed": len(failed) if isinstance(failed, list) else 0}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError):
        return {"failed": 0}


def holder() -> dict[str, str] | None:
    """Return who changes this machine now: what, who, since.

    The record is one of `machine_lock`, which the program of the backups and the playbooks hold
    the machine by. Nothing is written here.
    """
    try:
        record = json.loads((LOCK / "record.json").read_text(encoding="utf-8"))
        heard = float((LOCK / "heard").read_text()) if (LOCK / "heard").exists() else 0.0
        silent = float(Path("/proc/uptime").read_text().split()[0]) - heard
        lives = any(Path(f"/proc/{each['pid']}").exists() for each in record["processes"])
        if silent >= SILENT_SECONDS and not lives:
            return None
        return {key: str(record[key]) for key in ("what", "who", "since")}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sampler(settings: Mapping[str, Any], sampling: bool) -> dict[str, Any]:
    expected = bool(settings["timer"])
    active = failed = False
    if expected and not systemd():
        # What its last run said is not known but by the age of the last sample.
        active = keeper.holder(Path(settings["lock"])) > 0
    elif expected:
        active = is_active(TIMER)
        shown = known(lambda: run("systemctl", "show", SAMPLER, "--property=Result"), "")
        failed = not sampling and shown.strip() not in ("Result=success", "")
    return {
        "expected": expected,
        "active": active,
        "failed": failed,
        "now": sampling,
        "interval_minutes": settings["interval_minutes"],
        "systemd": systemd(),
    }
