"""The inventory that describes a node made by hand, from what was seen of its machines. Pure.

Whatever cannot be seen is left as the samples in inventories/ have it: empty where the preflight
asks for it, a reference to the vault where it is secret.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.adopt import standing

try:
    import yaml
except ModuleNotFoundError:
    # The controller alone writes inventories, and has it; a managed machine need not.
    yaml = None  # type: ignore[assignment]

#: Groups of the inventory, and what runs in each.
GROUPS = {"keyvm": ("keydb", "ctp"), "catvm": ("orthanc",)}
SERVICES = {part: group for group, listed in GROUPS.items() for part in listed}
STACK = "auscat"
DATABASE = "key_db"
PAIR_COLUMNS = frozenset({"patient_id", "issuer", "pseudonym"})
#: What the view is called that stands in front of a KeyDB's own table.
VIEW = "auscat_pairs"
#: AusCAT's image of CTP, which de-identifies by rules of its own.
AUSCAT_CTP = re.compile(r"customi[sz]ed_ctp")
CONNECTION = ("ansible_host", "ansible_port", "ansible_user")
#: What the modules need beside an engine (docker_engine_packages).
ENGINE_PACKAGES = ("apparmor", "ca-certificates", "python3-docker", "iproute2")
NAMES = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")


class AdoptError(ValueError):
    """What stands there cannot be described as one node; the text names the reason and remedy."""


def placed(looks: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return on which machine each part runs.

    Args:
        looks: what was seen, by host (`look.observed`).

    Raises:
        AdoptError: there is nothing to adopt, a part runs twice, or CTP and KeyDB run apart.
    """
    found: dict[str, str] = {}
    for part in standing.PARTS:
        hosts = [host for host, look in sorted(looks.items()) if part in look["parts"]]
        if len(hosts) > 1:
            raise AdoptError(
                f"{part} runs on {' and '.join(hosts)}. Accepted: one machine for each of a node. "
                "Look at the machines of one node at a time (--limit), or say which service is "
                "meant (adopt_services)."
            )
        if hosts:
            found[part] = hosts[0]
    if not found:
        loose = sorted({name for look in looks.values() for name in look["containers"]})
        besides = (
            f" There are containers that are of no service, and cannot be taken over as such: "
            f"{', '.join(loose)}."
            if loose
            else ""
        )
        raise AdoptError(
            f"No Orthanc, CTP or KeyDB made by hand was found on {', '.join(sorted(looks))} among "
            f"the Swarm services.{besides} Accepted: a machine that manages a Swarm with at least "
            "one of them, which is not one of this project's already. Name them with "
            "adopt_services where they are there; site.yml brings up a new node where they are not."
        )
    if len({found[part] for part in ("ctp", "keydb") if part in found}) > 1:
        raise AdoptError(
            f"CTP runs on {found['ctp']} and KeyDB on {found['keydb']}. Accepted: both on one "
            "machine, since what looks patients up and what it looks them up in stay together "
            "here. Move one of them first."
        )
    return found


def service_of(look: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    """Return the service that is a part, as `standing.described` returns it."""
    name = look["parts"][part]
    return next(each for each in look["services"] if each["name"] == name)


def published(service: Mapping[str, Any], target: int) -> int | None:
    """Return the host's port that leads to one of the container's; None for none."""
    return next((p["published"] for p in service["ports"] if p["target"] == target), None)


def stack_name(looks: Iterable[Mapping[str, Any]]) -> str:
    """Return a name for the stack that none on these machines has.

    A stack of the same name would be taken for an earlier version of ours, and a deployment
    removes what it does not know.
    """
    taken = {each["stack"] for look in looks for each in look["services"]}
    names = [STACK, f"{STACK}_node", *(f"{STACK}_node{number}" for number in range(2, 99))]
    return next(name for name in names if name not in taken)


def main_data(look: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is largest of a machine's data, as `look.observed` has it; {} for nothing."""
    order = (
        ("orthanc", standing.PART_DATA["orthanc"]),
        ("ctp", standing.PART_DATA["ctp"][:1]),
        ("keydb", standing.PART_DATA["keydb"]),
    )
    for part, targets in order:
        for target in targets:
            found = look["data"].get(part, {}).get(target)
            if found and found.get("exists"):
                return dict(found)
    return {}


def data_root(look: Mapping[str, Any]) -> str:
    """Return where the data can lie without being copied: on the file system on which they are."""
    mount = str(main_data(look).get("mount") or "/")
    return posixpath.join(mount, STACK) if mount != "/" else f"/srv/{STACK}"


def engine_packages(look: Mapping[str, Any]) -> list[str]:
    """Return docker_engine_packages for a machine whose engine is not Debian's; empty otherwise."""
    packages = [
        each.removeprefix("the package ")
        for each in look["foreign"]
        if each.startswith("the package ")
    ]
    return [*packages, *ENGINE_PACKAGES] if packages else []


def vault_name(user: str) -> str:
    """Return the name in the vault of the password of a user of Orthanc."""
    return f"vault_orthanc_{re.sub('[^a-z0-9]+', '_', user.lower()).strip('_') or 'user'}_password"


def pairs(look: Mapping[str, Any]) -> list[str]:
    """Return the tables and views of key_db that have the columns of ours, with their schema."""
    return [
        table["name"] if table["schema"] == "public" else f"{table['schema']}.{table['name']}"
        # A view of the same columns may be of others for reading, as our own for CTP.
        for table in sorted(tables(look), key=lambda each: each["kind"] != "BASE TABLE")
        if {each["name"] for each in table["columns"]} >= PAIR_COLUMNS
    ]


def tables(look: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the tables of KeyDB's own database; none where they could not be read."""
    for database in look["keydb"].get("databases") or []:
        if database["name"] == DATABASE:
            return list(database["tables"] or [])
    return []


def _sources(look: Mapping[str, Any], port: int | None, protocol: str = "tcp") -> list[str]:
    """Return whom ufw lets in, who thought that this limits the port; everybody is nobody."""
    listed = (look["firewall"].get("ufw_sources") or {}).get(f"{port}/{protocol}", [])
    return [each for each in listed if each not in ("0.0.0.0/0", "::/0")]


def _of_orthanc(looks: Mapping[str, Any], places: Mapping[str, str]) -> dict[str, Any]:
    look = looks[places["orthanc"]]
    service = service_of(look, "orthanc")
    told = look["orthanc"].get("configuration") or {}
    users = [user for user in told.get("users") or ["admin"] if NAMES.match(user)]
    web, dicom = published(service, 8042), published(service, 4242)
    values: dict[str, Any] = {
        "orthanc_web_sources": _sources(look, web),
        "orthanc_registered_users": {user: f"{{{{ {vault_name(user)} }}}}" for user in users},
    }
    if web and web != 8042:
        values["orthanc_web_port"] = web
    if dicom and dicom != 4242:
        values["orthanc_dicom_port"] = dicom
    if told.get("name"):
        values["orthanc_name"] = told["name"]
    export = export_to(looks, places)
    aet = export.get("called") or told.get("aet") or "ORTHANC"
    if aet != "ORTHANC":
        values["orthanc_aet"] = aet
    if export.get("calling") not in (None, "CTP"):
        values["orthanc_ctp_aet"] = export["calling"]
    return values


def export_to(looks: Mapping[str, Any], places: Mapping[str, str]) -> dict[str, Any]:
    """Return how CTP calls Orthanc, where it exports to one place alone; {} where that is unknown.

    Keys: called and calling AE title, host, port.
    """
    exports = looks[places["ctp"]]["ctp"].get("exports") or [] if "ctp" in places else []
    titles = {(each["called"], each["calling"]) for each in exports}
    return dict(exports[0]) if len(titles) == 1 else {}


def _of_ctp(look: Mapping[str, Any]) -> dict[str, Any]:
    service = service_of(look, "ctp")
    dicom, web = published(service, 8104), published(service, 9090)
    values: dict[str, Any] = {
        "ctp_dicom_sources": _sources(look, dicom),
        "ctp_web_sources": _sources(look, web),
        "ctp_admin_password": "{{ vault_ctp_admin_password }}",
    }
    queue = look["data"].get("ctp", {}).get("/ctp_temp", {})
    if queue.get("owner"):
        values.update(ctp_uid=queue["owner"], ctp_gid=queue["group"])
    if AUSCAT_CTP.search(service["image"]):
        values.update(ctp_flavour="auscat", ctp_image=standing.reference(service))
    else:
        # To be decided by the site: the preflight refuses it as long as it is empty.
        values.update(ctp_flavour="rsna", ctp_distribution="")
    if dicom and dicom != 8104:
        values["ctp_dicom_port"] = dicom
    if web and web != 9090:
        values["ctp_web_port"] = web
    return values


def _of_keydb(look: Mapping[str, Any]) -> dict[str, Any]:
    service = service_of(look, "keydb")
    port = published(service, 5432)
    values: dict[str, Any] = {
        "keydb_sources": _sources(look, port),
        "keydb_image": standing.reference(service),
        "keydb_user": look["keydb"].get("user") or "key_admin",
        "keydb_password": "{{ vault_keydb_password }}",
        "keydb_ctp_password": "{{ vault_keydb_ctp_password }}",
        "keydb_table": (pairs(look) or [VIEW])[0],
    }
    owner = database_owner(look)
    if owner:
        values.update(keydb_uid=owner[0], keydb_gid=owner[1])
    if port and port != 5433:
        values["keydb_port"] = port
    return values


def database_owner(look: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return user and group of KeyDB's server, as they own its directory; None where unknown.

    The official image leaves the directory of the mount to root and owns the one below it.
    """
    server = look["keydb"].get("files") or {}
    if "owner" in server:
        return int(server["owner"]), int(server["group"])
    for each in look["data"].get("keydb", {}).values():
        if each.get("exists") and each.get("owner"):
            return int(each["owner"]), int(each["group"])
    return None


def variables(looks: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the variables of the node, by group (all, keyvm, catvm).

    Raises:
        AdoptError: as `placed`.
    """
    places = placed(looks)
    used = {host: looks[host] for host in sorted(set(places.values()))}
    found: dict[str, dict[str, Any]] = {"all": {}, "keyvm": {}, "catvm": {}}
    found["all"]["auscat_environment"] = "production"
    name = stack_name(used.values())
    if name != STACK:
        found["all"]["auscat_stack_name"] = name
    if set(places) != set(SERVICES):
        found["all"]["auscat_services"] = {part: SERVICES[part] for part in sorted(places)}
        # The proof goes through all three.
        found["all"]["verify_enabled"] = False
    zones = {service_of(looks[host], part)["timezone"] for part, host in sorted(places.items())} - {
        ""
    }
    if len(zones) == 1:
        found["all"]["auscat_timezone"] = zones.pop()
    for group, listed in GROUPS.items():
        host = next((places[part] for part in listed if part in places), None)
        if host is None:
            continue
        data = main_data(looks[host])
        if packages := engine_packages(looks[host]):
            found[group]["docker_engine_packages"] = packages
        found[group]["auscat_data_root"] = data_root(looks[host])
        if data.get("system_disk"):
            found[group]["host_volume_allow_system_disk"] = True
    if "orthanc" in places:
        found["catvm"].update(_of_orthanc(looks, places))
    if "ctp" in places:
        found["keyvm"].update(_of_ctp(looks[places["ctp"]]))
    if "keydb" in places:
        found["keyvm"].update(_of_keydb(looks[places["keydb"]]))
    # The take-over looks again, and is to find the same.
    names = {
        group: {part: looks[places[part]]["parts"][part] for part in listed if part in places}
        for group, listed in GROUPS.items()
    }
    if len(used) == 1:
        # One machine has one data root, and one file of variables.
        for group in GROUPS:
            found["all"].update(found.pop(group))
        found["all"]["adopt_services"] = names["keyvm"] | names["catvm"]
        return found
    for group, listed_names in names.items():
        if listed_names:
            found[group]["adopt_services"] = listed_names
    # What CTP has to know of Orthanc is taken from Orthanc's machine.
    return {group: values for group, values in found.items() if values}


_HEAD = {
    "all": (
        "What stands on the machines, as playbooks/adopt.yml has seen it. Fill in empty lists and\n"
        "# texts; ADOPTING.md says which, and what will change. docs/variables.md has all others."
    ),
    "keyvm": "The machine with identifiable data: KeyDB and CTP.",
    "catvm": "The machine with de-identified data: Orthanc.",
}


def files(
    looks: Mapping[str, Mapping[str, Any]], connections: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """Return the files of the inventory, by their path in its directory.

    Args:
        looks: what was seen, by host.
        connections: how Ansible reaches each host (ansible_host, ansible_port, ansible_user).

    Raises:
        AdoptError: as `placed`.
    """
    groups = variables(looks)
    places = placed(looks)
    hosts = {
        host: {
            name: connections[host][name]
            for name in CONNECTION
            if connections.get(host, {}).get(name) not in (None, "")
        }
        for host in sorted(set(places.values()))
    }
    members = {
        group: sorted({places[part] for part in listed if part in places})
        for group, listed in GROUPS.items()
    }
    inventory = {
        "all": {
            "children": {
                group: {"hosts": dict.fromkeys(listed)} if listed else None
                for group, listed in members.items()
            },
            "hosts": {host: values or None for host, values in hosts.items()},
        }
    }
    written = {"hosts.yml": _yaml("Written by playbooks/adopt.yml.", inventory)}
    for group, values in groups.items():
        path = "group_vars/all/main.yml" if group == "all" else f"group_vars/{group}.yml"
        text = _yaml(_HEAD[group], values)
        written[path] = text + (_options(looks, places) if _has_orthanc(group, groups) else "")
    return written


def _has_orthanc(group: str, groups: Mapping[str, Any]) -> bool:
    return "orthanc_registered_users" in groups[group]


def _options(looks: Mapping[str, Any], places: Mapping[str, str]) -> str:
    """Return the settings of the old Orthanc as a comment: some would open what ours closes."""
    told = looks[places["orthanc"]]["orthanc"].get("configuration") or {}
    if not told.get("options"):
        return ""
    listed = _dump({"orthanc_options": told["options"]})
    lines = "".join(f"# {line}\n" for line in listed.splitlines())
    return f"\n# The old orthanc.json also had, and nothing of it is taken over by itself:\n{lines}"


def _dump(values: Any) -> str:
    return yaml.safe_dump(values, sort_keys=False, default_flow_style=False, width=110)


def _yaml(head: str, values: Any) -> str:
    return f"---\n# {head}\n{_dump(values)}".replace(": null\n", ":\n")
