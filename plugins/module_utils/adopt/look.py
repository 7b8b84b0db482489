"""Look at a machine with a node that was made by hand. Nothing is started, changed or written.

Passwords are compared with the defaults of AusCAT's pages where they lie, in the containers; only
the names of those that are equal are returned. Of tables the names, columns and numbers of rows are
returned, of a configuration the names of users and settings.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.adopt import standing
from ansible_collections.auscat.imaging.plugins.module_utils.firewall.host_firewalls import (
    ufw_is_active,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host import engine_setup, facts
from ansible_collections.auscat.imaging.plugins.module_utils.services import keydb as sql
from ansible_collections.auscat.imaging.plugins.module_utils.services import psql
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import observe
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status.command import (
    is_active,
    known,
    run,
)

#: What AusCAT's pages give as defaults, by the file of the secret; of Orthanc by user.
DEFAULT_PASSWORDS = {
    "keydb_pass": "postgres",
    "keydb_ctp_pass": "changeme",
    "ctp_admin_pass": "admin",
}
DEFAULT_USERS = {"admin": "admin", "demo": "demo", "orthanc": "orthanc"}
ORTHANC_FILES = ("/run/secrets/orthanc.json", "/etc/orthanc/orthanc.json")
#: Settings of orthanc.json that an inventory has a variable for, or that the images set themselves.
OWN_SETTINGS = frozenset(
    {
        *("Name", "RemoteAccessAllowed", "AuthenticationEnabled", "RegisteredUsers", "DicomAet"),
        *("HttpPort", "DicomPort", "StorageDirectory", "IndexDirectory", "Plugins"),
    }
)
#: Where the role of a PostgreSQL image is: the official image's variables, as AusCAT sets them.
_SUPERUSER = (
    'printf %s "${POSTGRES_USER:-$(cat "${POSTGRES_USER_FILE:-/run/secrets/keydb_user}"'
    ' 2>/dev/null || echo postgres)}"'
)
_ROLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$-]{0,62}\Z")
#: What a server says of itself, as one JSON object.
SERVER = (
    "SELECT json_build_object("
    "'version', current_setting('server_version'),"
    "'number', current_setting('server_version_num')::int,"
    "'data', current_setting('data_directory'),"
    "'superuser', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),"
    "'roles', (SELECT json_agg(rolname ORDER BY rolname) FROM pg_roles WHERE rolname !~ '^pg_'),"
    "'databases', (SELECT json_agg(datname ORDER BY datname) FROM pg_database"
    "              WHERE NOT datistemplate AND datname <> 'postgres'));"
)
#: What the role may read with which CTP looks patients up; nothing where there is no such role.
_READABLE = (
    "SELECT coalesce(json_agg(json_build_object('schema', n.nspname, 'name', c.relname)), '[]')"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " JOIN pg_roles r ON r.rolname = 'ctp_key_db_select'"
    " WHERE c.relkind IN ('r', 'p', 'v', 'm')"
    " AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
    " AND has_schema_privilege(r.oid, n.oid, 'USAGE')"
    " AND has_table_privilege(r.oid, c.oid, 'SELECT');"
)
READ_ONLY = "SET default_transaction_read_only = on; SET statement_timeout = '30s';\n"
_EXPORT = re.compile(r"dicom://([^:\"'@/\s]{1,16}):([^:\"'@/\s]{1,16})@([A-Za-z0-9_.-]+):(\d+)")
UFW = Path("/etc/ufw/ufw.conf")
UFW_RULES = (Path("/etc/ufw/user.rules"), Path("/etc/ufw/user6.rules"))
PATIENCE = 60.0


def observed(told: Mapping[str, str]) -> dict[str, Any]:
    """Look at this machine.

    Args:
        told: ``adopt_services``: which service is which, where that is not clear.

    Returns:
        system; engine (version; empty: none answers), foreign (engines of others) and swarm (state,
        manager, nodes, autolock); services (`standing.described`), parts, problems, containers
        (names of running ones that are of no service), data (of each part, by the directory in the
        container), orthanc, keydb and ctp (each empty where there is none), default_passwords
        (names), firewall, address.

    Raises:
        UnknownError: there is an engine that does not answer.
    """
    found: dict[str, Any] = {
        "system": observe.system(),
        "address": known(facts.default_address, ""),
        "engine": "",
        # Engines of others than Debian's docker.io: packages, or what no package has brought.
        "foreign": known(engine_setup.foreign, []),
        "swarm": {"state": "", "manager": False, "nodes": 0, "autolock": False},
        "services": [],
        "parts": {},
        "problems": [],
        "containers": [],
        "data": {},
        **{part: {} for part in standing.PARTS},
        "default_passwords": [],
        "firewall": _firewall(),
    }
    if not observe.engine_installed():
        return found
    found["engine"] = observe.engine()
    swarm = json.loads(run("docker", "info", "--format", "{{json .Swarm}}"))
    found["swarm"] = {
        "state": str(swarm.get("LocalNodeState") or ""),
        "manager": bool(swarm.get("ControlAvailable")),
        "nodes": int(swarm.get("Nodes") or 0),
        "autolock": facts.engine()["swarm_autolock"],
    }
    containers = _inspected("container", run("docker", "ps", "--quiet").split())
    found["containers"] = sorted(
        str(each["Name"]).lstrip("/")
        for each in containers
        if not (each["Config"].get("Labels") or {}).get(observe.LABEL_SERVICE)
    )
    if not found["swarm"]["manager"]:
        return found
    inspected = _inspected("service", run("docker", "service", "ls", "--quiet").split())
    root = run("docker", "info", "--format", "{{.DockerRootDir}}").strip()
    services = standing.described(inspected, f"{root}/volumes")
    for each in services:
        _complete(each, containers)
    found["services"] = services
    found["parts"], found["problems"] = standing.parts(services, told)
    by_name = {each["name"]: each for each in services}
    running = {part: _container(containers, name) for part, name in found["parts"].items()}
    for part, name in found["parts"].items():
        found["data"][part] = {
            target: {**mount, **_place(mount["path"])}
            for target, mount in standing.data_of(part, by_name[name]).items()
        }
    for part, look in _LOOKS.items():
        if part in running:
            told_of, defaults = look(running[part], by_name[found["parts"][part]])
            found[part] = {"running": bool(running[part]), **told_of}
            found["default_passwords"] += defaults
    return found


def as_before(look: Mapping[str, Any], noted: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was seen, with what a take-over that was begun has changed as it was before.

    Args:
        look: as `observed` returns it.
        noted: of the take-over (`take_over.TakeOver.noted`); empty where none was begun.
    """
    if "limited" not in noted:
        return dict(look)
    return {**look, "firewall": {**look["firewall"], "ours": noted["limited"]}}


def _inspected(kind: str, names: Iterable[str]) -> list[dict[str, Any]]:
    listed = list(names)
    return list(json.loads(run("docker", kind, "inspect", *listed))) if listed else []


def _container(containers: Iterable[Mapping[str, Any]], service: str) -> str:
    """Return the id of a running container of a service; empty where none runs here."""
    for each in containers:
        if (each["Config"].get("Labels") or {}).get(observe.LABEL_SERVICE) == service:
            return str(each["Id"])
    return ""


def _complete(service: dict[str, Any], containers: Iterable[Mapping[str, Any]]) -> None:
    """Add to a service what only its container and its volumes tell."""
    for mount in service["mounts"]:
        if mount["kind"] == "volume" and mount["source"]:
            names = [mount["source"]]
            # Where the engine has it; a volume that is not on this machine has no path here.
            volumes = known(lambda names=names: _inspected("volume", names), [])
            mount["path"] = str(volumes[0]["Mountpoint"]) if volumes else ""
    if service["digest"]:
        return
    container = _container(containers, service["name"])
    image = next((str(each["Image"]) for each in containers if each["Id"] == container), "")
    images = known(lambda: _inspected("image", [image] if image else []), [])
    digests = [str(each) for each in (images[0].get("RepoDigests") if images else None) or []]
    name = service["image"].removesuffix(f":{service['tag']}")
    service["digest"] = next(
        (each.partition("@")[2] for each in digests if each.partition("@")[0].endswith(name)), ""
    )


def _place(path: str) -> dict[str, Any]:
    """Return what is known of a directory on the host, without counting what is in it."""
    try:
        status = Path(path).lstat()
        system = observe.file_system(Path(path))
    except OSError:
        return {"exists": False}
    return {
        "exists": True,
        # Where PostgreSQL has its data in the mount itself, and not in a directory below it.
        "database": Path(path, "PG_VERSION").exists(),
        "link": stat.S_ISLNK(status.st_mode),
        "owner": status.st_uid,
        "group": status.st_gid,
        "mode": f"{stat.S_IMODE(status.st_mode):04o}",
        "device": system["device"],
        "mount": system["mount"],
        "used_bytes": system["size"] - system["free"],
        "free_bytes": system["free"],
        "system_disk": known(lambda: facts.is_on_system_disk(Path(path)), None),
    }


# The parts


def _read(container: str, path: str) -> str:
    return run("docker", "exec", container, "cat", path)


def without_comments(text: str) -> str:
    """Return JSON without the comments that Orthanc accepts in its configuration."""
    pattern = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
    return pattern.sub(lambda found: found[0] if found[0].startswith('"') else " ", text)


def configuration(text: str) -> tuple[dict[str, Any], list[str]]:
    """Return what an inventory can say of orthanc.json, and the users with a default password.

    Args:
        text: the file. No password of it is returned.

    Raises:
        ValueError: it is no JSON object.
    """
    told = json.loads(without_comments(text))
    if not isinstance(told, dict):
        raise ValueError("orthanc.json is no object")
    registered = told.get("RegisteredUsers")
    users = registered if isinstance(registered, dict) else {}
    return {
        "name": str(told.get("Name") or ""),
        "aet": str(told.get("DicomAet") or "ORTHANC"),
        "authentication": told.get("AuthenticationEnabled"),
        "remote_access": told.get("RemoteAccessAllowed"),
        "users": sorted(map(str, users)),
        # Plain values alone: a text could be a password, such as that of a database.
        "options": {
            str(key): value
            for key, value in sorted(told.items())
            if key not in OWN_SETTINGS and isinstance(value, (bool, int, float))
        },
        "other_settings": sorted(
            str(key)
            for key, value in told.items()
            if key not in OWN_SETTINGS and not isinstance(value, (bool, int, float))
        ),
    }, sorted(user for user, password in users.items() if DEFAULT_USERS.get(user) == password)


def _orthanc(container: str, service: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    found: dict[str, Any] = {"configuration": None}
    logins: list[tuple[str, str]] = []
    defaults: list[str] = []
    for path in ORTHANC_FILES if container else ():
        text = known(lambda path=path: _read(container, path), "")
        try:
            found["configuration"], equal = configuration(text)
        except ValueError:
            continue
        users = json.loads(without_comments(text)).get("RegisteredUsers") or {}
        logins = [(str(user), str(password)) for user, password in users.items()]
        defaults = [f"user {user} of Orthanc" for user in equal]
        break
    port = next((p["published"] for p in service["ports"] if p["target"] == 8042), None)
    page = {"url": f"http://127.0.0.1:{port}"}
    if port and not logins:
        logins = list(DEFAULT_USERS.items())[:1]
        entered = known(lambda: observe.orthanc(page, *logins[0], PATIENCE), {})
        defaults = [f"user {logins[0][0]} of Orthanc"] if entered.get("login") else []
    if port:
        user, password = logins[0]
        found["archive"] = known(lambda: observe.orthanc(page, user, password, PATIENCE), {})
    return found, defaults


def _keydb(container: str, service: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    if not container:
        return {}, []
    user = known(lambda: run("docker", "exec", container, "sh", "-c", _SUPERUSER).strip(), "")
    found: dict[str, Any] = {"user": user if _ROLE_NAME.match(user) else "", "databases": []}
    if not found["user"]:
        return found, _default_secrets(container, service)

    def ask(database: str, statements: str) -> Any:
        command = psql.command(container, user=user, database=database)
        return json.loads(run(*command, stdin=READ_ONLY + statements, timeout=PATIENCE))

    found["server"] = known(lambda: ask("postgres", SERVER), None)
    found["files"] = known(lambda: _owner((found["server"] or {})["data"], service), {})
    for name in (found["server"] or {}).get("databases") or []:
        listed = known(lambda name=name: tables(lambda text: ask(name, text)), None)
        found["databases"].append({"name": name, "tables": listed})
    return found, _default_secrets(container, service)


def _owner(directory: str, service: Mapping[str, Any]) -> dict[str, Any]:
    """Return where the server's directory is on the host, and whose; {} where it is in no mount."""
    for mount in service["mounts"]:
        below = os.path.relpath(directory, mount["target"])
        if mount["path"] and not below.startswith(".."):
            path = Path(mount["path"], below)
            status = path.stat()
            return {"path": str(path), "owner": status.st_uid, "group": status.st_gid}
    return {}


def tables(ask: Callable[[str], Any]) -> list[dict[str, Any]]:
    """Return the tables and views of a database: columns, numbers of rows, whether CTP may read."""
    listed = ask(
        "SELECT coalesce(json_agg(t), '[]') FROM ("
        "SELECT c.table_schema AS schema, c.table_name AS name,"
        " (SELECT t.table_type FROM information_schema.tables t"
        "  WHERE (t.table_schema, t.table_name) = (c.table_schema, c.table_name)) AS kind,"
        " json_agg(json_build_object('name', c.column_name, 'type', c.data_type)"
        "          ORDER BY c.ordinal_position) AS columns"
        " FROM information_schema.columns c"
        " WHERE c.table_schema NOT IN ('pg_catalog', 'information_schema')"
        " GROUP BY 1, 2) t;"
    )
    listed.sort(key=lambda each: (each["schema"], each["name"]))
    counted = [
        f"SELECT {index} AS number, count(*) AS rows FROM "
        f"{sql.identifier(each['schema'])}.{sql.identifier(each['name'])}"
        for index, each in enumerate(listed)
    ]
    rows: list[dict[str, Any]] = []
    if counted:
        union = " UNION ALL ".join(counted)
        rows = ask(f"SELECT coalesce(json_agg(n), '[]') FROM ({union}) n;")
    numbers = {each["number"]: each["rows"] for each in rows}
    readable = {(each["schema"], each["name"]) for each in ask(_READABLE)}
    return [
        {
            **each,
            "rows": numbers.get(index),
            "read_by_ctp": (each["schema"], each["name"]) in readable,
        }
        for index, each in enumerate(listed)
    ]


def _ctp(container: str, service: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    found: dict[str, Any] = {"exports": [], "held": None}
    if container:
        # Where an image has it differs; its own text is not returned, since it may hold passwords.
        find = "find / -xdev -name config.xml -path '*CTP*' -exec cat {} + 2>/dev/null || true"
        text = known(lambda: run("docker", "exec", container, "sh", "-c", find), "")
        found["exports"] = [
            {"called": called, "calling": calling, "host": host, "port": int(port)}
            for called, calling, host, port in dict.fromkeys(_EXPORT.findall(text))
        ]
    queue = next((each["path"] for each in service["mounts"] if each["target"] == "/ctp_temp"), "")
    if queue:
        found["held"] = known(lambda: _objects(Path(queue)), None)
    return found, _default_secrets(container, service) if container else []


def _objects(root: Path) -> int:
    """Return how many files lie below CTP's queues and quarantines."""
    count = 0
    for directory, _, names in os.walk(root):
        if re.search(r"quarantine|export|import|queue", directory, re.IGNORECASE):
            count += len(names)
    return count


def _default_secrets(container: str, service: Mapping[str, Any]) -> list[str]:
    """Return the names of the secrets that have a default of AusCAT's pages."""
    return [
        f"secret {each['name']}"
        for each in service["secrets"]
        if each["file"] in DEFAULT_PASSWORDS
        and known(lambda each=each: observe.secret(container, each["file"]).strip(), None)
        == DEFAULT_PASSWORDS[each["file"]]
    ]


_LOOKS: dict[str, Callable[[str, Mapping[str, Any]], tuple[dict[str, Any], list[str]]]] = {
    "orthanc": _orthanc,
    "ctp": _ctp,
    "keydb": _keydb,
}


# The firewall


def _firewall() -> dict[str, Any]:
    """Return what limits who may come in: None for what cannot be told.

    docker_user: rules of the chain DOCKER-USER beside its own RETURN, the only place of Docker's
    where a published port can be limited; ours: whether the table of this project is loaded.
    """
    rules = known(lambda: run("nft", "--json", "list", "ruleset"), None) if _nft() else None
    ufw = known(lambda: UFW.read_text(encoding="utf-8"), "")
    text = "\n".join(known(lambda f=f: f.read_text(encoding="utf-8"), "") for f in UFW_RULES)
    return {
        "ufw": ufw_is_active(ufw),
        "ufw_sources": ufw_sources(text),
        "firewalld": is_active("firewalld.service"),
        **(nft_limits(json.loads(rules)) if rules else {"docker_user": None, "ours": None}),
    }


def _nft() -> bool:
    return shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin") is not None


def nft_limits(ruleset: Mapping[str, Any]) -> dict[str, Any]:
    """Return what rules there are about Docker's ports.

    Args:
        ruleset: what ``nft --json list ruleset`` prints.
    """
    entries = ruleset.get("nftables") or []
    chained = [
        each["rule"]
        for each in entries
        if "rule" in each and each["rule"].get("chain") == "DOCKER-USER"
    ]
    limits = [
        rule
        for rule in chained
        if not all("counter" in part or "return" in part for part in rule.get("expr") or [])
    ]
    return {
        "docker_user": len(limits),
        "ours": any(
            each.get("table", {}).get("name") == "auscat" for each in entries if "table" in each
        ),
    }


def ufw_sources(rules: str) -> dict[str, list[str]]:
    """Return whom ufw's rules let in, by port: ``8042/tcp`` to networks and addresses.

    Args:
        rules: the files user.rules and user6.rules, whose comments hold what was asked for.
    """
    found: dict[str, set[str]] = {}
    # "### tuple ### allow tcp 8042 0.0.0.0/0 any 10.1.0.0/16 in": the protocol may be any.
    pattern = re.compile(r"^### tuple ### allow (\S+) (\d+) \S+ any (\S+) in", re.MULTILINE)
    for protocol, port, source in pattern.findall(rules):
        for each in ("tcp", "udp") if protocol == "any" else (protocol,):
            found.setdefault(f"{port}/{each}", set()).add(source)
    return {port: sorted(sources) for port, sources in sorted(found.items())}
