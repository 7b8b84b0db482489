"""What adopting a node changes, what nobody could see, and what is unsafe today, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.adopt import describe, standing
from ansible_collections.auscat.imaging.plugins.module_utils.host.tables import counted

#: The lists, in the order in which they are told, and their headings.
HEADINGS = {
    "obstacles": "In the way: take these away first",
    "changes": "What will change",
    "stays": "What stays as it is",
    "fill_in": "What could not be seen: fill it in",
    "unsafe": "What is unsafe today",
}
TITLES = {"orthanc": "Orthanc", "ctp": "CTP", "keydb": "KeyDB"}
Told = dict[str, list[str]]


def findings(looks: Mapping[str, Mapping[str, Any]]) -> Told:
    """Return the lists of `HEADINGS`, without empty ones.

    Args:
        looks: what was seen, by host (`look.observed`).

    Raises:
        AdoptError: as `describe.placed`.
    """
    places = describe.placed(looks)
    used = {host: looks[host] for host in sorted(set(places.values()))}
    found: Told = {name: [] for name in HEADINGS}
    for host in sorted(looks):
        if host not in used:
            found["stays"].append(
                f"{host}: nothing of the node was found there; it is not in the inventory."
            )
    for host, look in used.items():
        _machine(found, host, look)
    for part, host in places.items():
        {"orthanc": _orthanc, "ctp": _ctp, "keydb": _keydb}[part](found, host, looks[host])
    _together(found, looks, places)
    return {name: listed for name, listed in found.items() if listed}


def obstacles(looks: Mapping[str, Mapping[str, Any]], services: Iterable[str]) -> list[str]:
    """Return what is in the way of taking over a machine.

    Args:
        looks: what was seen, by host (module C(adopt_look)).
        services: names of those that the inventory places there.
    """
    wished = set(services)
    found: list[str] = []
    for host, look in looks.items():
        seen = set(look["parts"])
        if not seen:
            found.append(
                f"{host}: no Orthanc, CTP or KeyDB stands there. Bring a new node up with "
                "site.yml, or name its services with adopt_services."
            )
            continue
        if seen - wished:
            listed = " and ".join(TITLES[part] for part in sorted(seen - wished))
            found.append(
                f"{host}: {listed} stands there, and the inventory does not place it there "
                "(auscat_services, groups keyvm and catvm)."
            )
        found += findings({host: look}).get("obstacles", [])
    return found


def _own(look: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for each in look["services"] if each["name"] in look["parts"].values()]


def _others(look: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for each in look["services"] if each["name"] not in look["parts"].values()]


def _machine(found: Told, host: str, look: Mapping[str, Any]) -> None:
    if look["swarm"]["nodes"] > 1:
        found["obstacles"].append(
            f"{host}: its Swarm has {look['swarm']['nodes']} machines, and a service may run on "
            "any of them. What lies on the others was not seen. Take them out (docker node rm), or "
            "run this for each machine of a node."
        )
    if look["swarm"]["autolock"]:
        found["changes"].append(
            f"{host}: its Swarm asks for a key after each start of the engine (autolock), and the "
            "engine may be restarted: have the key at hand for `docker swarm unlock`, or turn it "
            "off before (docker swarm update --autolock=false). swarm_autolock turns it on again, "
            "with the key in the vault (docs/secrets.md)."
        )
    found["obstacles"] += [f"{host}: {each}" for each in look["problems"]]
    asking = standing.dependent(look["services"], look["parts"])
    for each in _others(look):
        asked = asking.get(each["name"])
        found["stays"].append(
            f"{host}: the service {each['name']} ({each['image']}) is left alone."
        )
        if asked:
            parts = " and ".join(TITLES[part] for part in asked)
            found["changes"].append(
                f"{host}: {each['name']} asks {parts} by name on the stack's network. After the "
                "take-over nobody of that name is there, and no container of the Swarm gets in at "
                "a port that the node publishes. Run it outside of the Swarm or on another "
                "machine, at the published port, with TLS and its address among that port's "
                "sources; or as a service of the node (docs/adding-a-service.md)."
            )
    for name in sorted({each["stack"] or each["name"] for each in _others(look)}):
        found["fill_in"].append(
            f"{host}: whom the services of {name} that are left alone connect to outside: "
            f"firewall_outgoing_of, such as {{{name}: [10.1.2.3:443]}}, or {{{name}: []}} for "
            "nobody. The node limits what leaves by the bridge of the Swarm, theirs too "
            "(docs/firewall.md)."
        )
    _engine(found, host, look)
    if look["containers"]:
        found["stays"].append(
            f"{host}: containers that are of no Swarm service are left alone: "
            f"{', '.join(look['containers'])}."
        )
    for each in _own(look):
        _image(found, host, each)
        _published(found, host, look, each)
        if each["open_secrets"]:
            found["unsafe"].append(
                f"{host}: {each['name']} has {', '.join(each['open_secrets'])} in its environment, "
                "in clear text: whoever may use Docker or Portainer reads it."
            )
        if each["replicas"] != 1:
            many = "runs once on each machine"
            if each["replicas"] is not None:
                many = f"has {counted(each['replicas'], 'replica')}"
            found["obstacles"].append(
                f"{host}: {each['name']} {many}. Accepted: one replica. What does not run "
                "cannot be looked at, and two on one directory damage it."
            )
    for part, name in look["parts"].items():
        for mount in next(each for each in _own(look) if each["name"] == name)["mounts"]:
            if mount["target"] not in standing.PART_DATA[part]:
                found["fill_in"].append(
                    f"{host}: {name} also has {mount['source'] or mount['kind']} mounted at "
                    f"{mount['target']}. It is not taken over."
                )
    found["unsafe"] += [
        f"{host}: {each} has the default password of AusCAT's pages."
        for each in look["default_passwords"]
    ]
    data = describe.main_data(look)
    if data.get("system_disk"):
        found["unsafe"].append(
            f"{host}: the data lie on the system disk, which stops the machine when it is full. "
            "The inventory accepts that (host_volume_allow_system_disk), since nothing is copied."
        )
    _data(found, host, look)


def _engine(found: Told, host: str, look: Mapping[str, Any]) -> None:
    if not look["foreign"]:
        return
    listed = ", ".join(look["foreign"])
    if describe.engine_packages(look):
        found["stays"].append(
            f"{host}: its engine ({listed}): the inventory names its packages in the place of "
            "Debian's (docker_engine_packages)."
        )
    else:
        found["obstacles"].append(
            f"{host}: its engine is {listed}, which no package has brought. Nobody could keep it "
            "up to date: move the node to a machine with a packaged engine."
        )
    found["changes"].append(
        f"{host}: the engine's settings get limits of the logs. Where they differ, it restarts "
        "once, and all containers with it, before anything is taken over."
    )


def _image(found: Told, host: str, service: Mapping[str, Any]) -> None:
    if service["tag"] in ("", "latest"):
        tag = "the tag latest" if service["tag"] else "no tag, which means latest"
        found["unsafe"].append(
            f"{host}: {service['name']} runs {service['image']}, with {tag}: another version may "
            "come with any restart or deployment."
        )
    if not service["digest"]:
        found["unsafe"].append(
            f"{host}: the image of {service['name']} has no digest here, so it came from no "
            "registry. What runs is known by its tag alone."
        )


def _published(found: Told, host: str, look: Mapping[str, Any], service: Mapping[str, Any]) -> None:
    if not service["ports"]:
        return
    listed = ", ".join(f"{each['published']}/{each['protocol']}" for each in service["ports"])
    wall = look["firewall"]
    if wall["docker_user"] is None:
        found["fill_in"].append(
            f"{host}: whether something limits {listed} ({service['name']}) could not be seen, "
            "since nft is missing or does not answer."
        )
    elif not wall["docker_user"] and not wall["ours"]:
        besides = " ufw is on, and does not limit what Docker publishes." if wall["ufw"] else ""
        besides += " firewalld is on, and does not limit it either." if wall["firewalld"] else ""
        found["unsafe"].append(
            f"{host}: {listed} ({service['name']}): open to every machine that reaches this one."
            f"{besides}"
        )
    else:
        found["fill_in"].append(
            f"{host}: there are rules of the site's own about published ports (DOCKER-USER). They "
            f"stay. Whom they let in to {listed} belongs into the sources of the inventory, too."
        )
    if any(each["mode"] == "ingress" for each in service["ports"]):
        found["changes"].append(
            f"{host}: {listed} ({service['name']}) come through Swarm's ingress mesh, which hides "
            "the sender's address. They will be published by the machine itself and limited to "
            "the sources of the inventory."
        )


def _data(found: Told, host: str, look: Mapping[str, Any]) -> None:
    root = describe.data_root(look)
    main = describe.main_data(look)
    for part, targets in sorted(look["data"].items()):
        for target, each in sorted(targets.items()):
            what = f"{host}: {TITLES[part]}'s {target} ({each['path'] or each['source']})"
            if not each.get("exists"):
                found["obstacles"].append(f"{what} is not there. Find out where its data are.")
            elif each["link"]:
                found["obstacles"].append(
                    f"{what} is a symbolic link. Name the directory itself in the old stack."
                )
            elif each["device"] == main.get("device"):
                found["changes"].append(
                    f"{what} is renamed to a directory of {root}, on the same file system: nothing "
                    "is copied, and it gets its old name back where the take-over fails."
                )
            else:
                found["changes"].append(
                    f"{what} lies on another file system than {root} and is copied there. The "
                    "original stays."
                )


def _orthanc(found: Told, host: str, look: Mapping[str, Any]) -> None:
    service, told = describe.service_of(look, "orthanc"), look["orthanc"]
    seen, archive = told.get("configuration"), told.get("archive") or {}
    if not look["data"].get("orthanc"):
        found["obstacles"].append(
            f"{host}: nothing of the host is mounted at /var/lib/orthanc/db, so the studies lie in "
            "the container and vanish with it. Copy them out first, with the old Orthanc's REST "
            "API, before anybody stops this service."
        )
    if archive.get("told"):
        counts = ", ".join(
            counted(archive[name], one, many)
            for name, one, many in (
                ("studies", "study", "studies"),
                ("instances", "instance", "instances"),
            )
        )
        found["stays"].append(f"{host}: Orthanc's archive, with its {counts}.")
        if archive.get("index") == "PostgreSQL":
            found["obstacles"].append(
                f"{host}: Orthanc keeps its index in a PostgreSQL of its own. Ours has SQLite, and "
                "this index cannot be taken over: send the studies to a new node instead."
            )
    else:
        found["fill_in"].append(
            f"{host}: how many studies Orthanc holds could not be asked (it publishes no 8042, or "
            "no user of its orthanc.json is known)."
        )
    if seen is None:
        found["fill_in"].append(
            f"{host}: orthanc.json could not be read. The inventory has the user admin, the AE "
            "title ORTHANC and no further setting; correct them there."
        )
    else:
        if seen["authentication"] is False:
            found["unsafe"].append(
                f"{host}: AuthenticationEnabled is false: everybody reads, changes and deletes."
            )
        names = [*seen["options"], *seen["other_settings"]]
        if names:
            found["fill_in"].append(
                f"{host}: orthanc.json also has {', '.join(sorted(names))}. Nothing of it is taken "
                "over; what is still wanted belongs into orthanc_options."
            )
    users = (seen or {}).get("users") or ["admin"]
    found["fill_in"].append(
        f"{host}: passwords of Orthanc ({', '.join(users)}). Put the present ones into the vault "
        "where people are to keep them; playbooks/init_secrets.yml makes new ones for the rest. A "
        "default or short one is refused."
    )
    found["unsafe"].append(
        f"{host}: 8042 is plain HTTP, so passwords and studies can be read on the way."
    )
    found["changes"] += [
        f"{host}: Orthanc's image becomes this project's, on the same data. It refuses objects "
        "that do not say that they are de-identified, whatever way they come; what it holds stays.",
        f"{host}: Orthanc's page is HTTPS, with the certificate of the inventory: clients use "
        "https:// and trust its CA (docs/clients.md).",
    ]
    if describe.published(service, 4242):
        found["changes"].append(
            f"{host}: Orthanc's DICOM port is published only where CTP runs on another "
            "machine, and for that machine alone, with TLS. Other senders are refused."
        )


def _ctp(found: Told, host: str, look: Mapping[str, Any]) -> None:
    service, told = describe.service_of(look, "ctp"), look["ctp"]
    if "/ctp_temp" not in look["data"].get("ctp", {}):
        found["obstacles"].append(
            f"{host}: nothing of the host is mounted at /ctp_temp, so CTP's queues and quarantines "
            "lie in its container and vanish with it. Stop the senders, let it send what is "
            "queued, and copy out of its quarantine what is still wanted."
        )
    elif told.get("held"):
        found["stays"].append(
            f"{host}: CTP's queues and quarantines, with {counted(told['held'], 'file')}."
        )
    if describe.AUSCAT_CTP.search(service["image"]):
        found["stays"].append(
            f"{host}: CTP's image with its own rules ({standing.reference(service)}): a study that "
            "comes again gets the same identifiers as before. Another one (ctp_flavour: rsna) "
            "would make a second study of it."
        )
        places = {f"{each['host']}:{each['port']}" for each in told.get("exports") or []}
        named = f" Its config.xml names {', '.join(sorted(places))}." if places else ""
        found["fill_in"].append(
            f"{host}: where CTP exports to beside Orthanc: ctp_outgoing, since it connects to "
            f"nobody outside whom the inventory does not name (docs/firewall.md).{named}"
        )
    else:
        found["fill_in"].append(
            f"{host}: which CTP {service['image']} is. Say it with ctp_flavour, ctp_image or "
            "ctp_distribution. Its own rules cannot be taken over; other rules give a study that "
            "comes again other identifiers."
        )
    found["fill_in"] += [
        f"{host}: who sends to CTP: the sources of its ports (ctp_dicom_sources, ctp_web_sources), "
        "where ufw has not said it.",
        f"{host}: the password of CTP's page (admin), for the vault.",
    ]
    found["unsafe"].append(f"{host}: 9090 is plain HTTP.")
    found["changes"].append(
        f"{host}: a gate stands in front of CTP's DICOM port, at the same address, port and AE "
        "titles. Senders wait there while CTP restarts."
    )


def _keydb(found: Told, host: str, look: Mapping[str, Any]) -> None:
    service, told = describe.service_of(look, "keydb"), look["keydb"]
    server = told.get("server")
    if "/var/lib/postgresql" in look["data"].get("keydb", {}):
        found["obstacles"].append(
            f"{host}: KeyDB's data are mounted at /var/lib/postgresql, as images of PostgreSQL 18 "
            "and later do. Ours is mounted at /var/lib/postgresql/data and would not find them."
        )
    if not look["data"].get("keydb"):
        found["obstacles"].append(
            f"{host}: nothing of the host is mounted where KeyDB has its data, so the pairs lie in "
            "the container and vanish with it. Dump them first (docs/upgrade.md)."
        )
    found["stays"].append(
        f"{host}: KeyDB's image ({standing.reference(service)}), its database, its tables and "
        "every pair. This project's image is another step, later (docs/upgrade.md)."
    )
    found["unsafe"].append(
        f"{host}: KeyDB's port takes clear text. It will take TLS alone: psql and pgAdmin need "
        "sslmode=require or better."
    )
    found["fill_in"].append(
        f"{host}: the passwords of KeyDB's superuser and of ctp_key_db_select. The node sets those "
        "of the vault in the database, so that the old ones need not be known; who else logs in as "
        "one of the two needs the new one."
    )
    if not server:
        found["fill_in"].append(
            f"{host}: KeyDB's tables could not be read: set keydb_user, keydb_table and, with "
            "ctp_flavour rsna, ctp_keydb_query."
        )
        return
    if describe.DATABASE not in (server.get("databases") or []):
        found["obstacles"].append(
            f"{host}: KeyDB has no database {describe.DATABASE}, but "
            f"{', '.join(server.get('databases') or []) or 'none'}. Rename it while CTP stands: "
            f"ALTER DATABASE … RENAME TO {describe.DATABASE};"
        )
    if "ctp_key_db_select" not in (server.get("roles") or []):
        found["obstacles"].append(
            f"{host}: KeyDB has no role ctp_key_db_select, with which CTP looks patients up. Make "
            "it (CREATE ROLE ctp_key_db_select LOGIN), and let it read the table of the pairs."
        )
    listed = describe.tables(look)
    for table in listed:
        names = ", ".join(each["name"] for each in table["columns"])
        found["stays"].append(
            f"{host}: {table['schema']}.{table['name']} ({counted(table['rows'], 'row')}): {names}."
        )
    unread = [f"{each['schema']}.{each['name']}" for each in listed if not each["read_by_ctp"]]
    if unread:
        found["changes"].append(
            f"{host}: CTP logs in to KeyDB as ctp_key_db_select, which may not read "
            f"{', '.join(unread)}. If CTP looks patients up there: GRANT SELECT ON … TO "
            "ctp_key_db_select;"
        )
    if listed and not describe.pairs(look):
        found["fill_in"].append(
            f"{host}: which table holds the pairs. KeyDB has none with the columns patient_id, "
            "issuer and pseudonym, with which load_keys.yml and the proof work. Make the view "
            f"{describe.VIEW} (below), or name another one with keydb_table."
        )


def view(looks: Mapping[str, Mapping[str, Any]]) -> str:
    """Return SQL for a view in front of KeyDB's own table, to be completed; empty: not needed."""
    places = describe.placed(looks)
    if "keydb" not in places or describe.pairs(looks[places["keydb"]]):
        return ""
    if not describe.tables(looks[places["keydb"]]):
        return ""
    name = describe.VIEW
    return f"""-- TABLE, IDENTIFIER and PSEUDONYM: the table of the pairs and its columns.
CREATE VIEW {name} AS
    SELECT IDENTIFIER::text AS patient_id, ''::text AS issuer, PSEUDONYM::text AS pseudonym
    FROM TABLE;
CREATE FUNCTION {name}_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO TABLE (IDENTIFIER, PSEUDONYM) VALUES (NEW.patient_id, NEW.pseudonym);
        RETURN NEW;
    END IF;
    DELETE FROM TABLE WHERE IDENTIFIER::text = OLD.patient_id;
    RETURN OLD;
END $$;
CREATE TRIGGER {name}_written INSTEAD OF INSERT OR DELETE ON {name}
    FOR EACH ROW EXECUTE FUNCTION {name}_written();
GRANT SELECT ON {name} TO ctp_key_db_select;
"""


def _together(
    found: Told, looks: Mapping[str, Mapping[str, Any]], places: Mapping[str, str]
) -> None:
    missing = [TITLES[part] for part in standing.PARTS if part not in places]
    if missing:
        found["fill_in"].append(
            f"{' and '.join(missing)}: not found. The inventory has no place for it "
            "(auscat_services). If it runs under another name, say so with adopt_services. Without "
            "it there is no proof (verify_enabled): whether a study goes through, nobody has seen."
        )
    if "ctp" in places and "orthanc" in places:
        export = describe.export_to(looks, places)
        if export:
            found["stays"].append(
                f"CTP calls Orthanc {export['called']} and itself {export['calling']}; Orthanc "
                "will accept these AE titles alone."
            )
        else:
            found["fill_in"].append(
                "CTP's AE titles toward Orthanc could not be read. Orthanc refuses every other: "
                "orthanc_aet is what CTP calls it, orthanc_ctp_aet what CTP calls itself."
            )
    name = describe.stack_name(looks[host] for host in set(places.values()))
    if name != describe.STACK:
        found["changes"].append(
            f"The new stack is called {name}, since a stack {describe.STACK} stands already."
        )
    found["changes"].append(
        "Services of the old stack that are replaced stop; those that are left alone go on in it."
    )


def report(looks: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the lists as a page in Markdown, with the SQL of the view where one is needed.

    Raises:
        AdoptError: as `describe.placed`.
    """
    lines = ["# Adopting this node", ""]
    for name, listed in findings(looks).items():
        lines += [f"## {HEADINGS[name]}", "", *(f"- {each}" for each in _unique(listed)), ""]
    if sql := view(looks):
        lines += [f"## The view {describe.VIEW}", "", "```sql", sql.rstrip(), "```", ""]
    return "\n".join(lines)


def _unique(listed: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(listed))
