"""Action plugin: check the inventory on the controller, then the host, and report all at once."""

from __future__ import annotations

import posixpath
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars
from ansible_collections.auscat.imaging.plugins.action import machine_lock
from ansible_collections.auscat.imaging.plugins.action.known_variables import (
    findings,
    known_variables,
)
from ansible_collections.auscat.imaging.plugins.action.vault_secrets import (
    VAULT,
    directory_of,
    opened,
)
from ansible_collections.auscat.imaging.plugins.module_utils.backup.plan import (
    REMOTE,
    backup_problems,
    declaration_problems,
    place_problems,
)
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import distribution
from ansible_collections.auscat.imaging.plugins.module_utils.host import engine_setup, site_network
from ansible_collections.auscat.imaging.plugins.module_utils.images.inputs import (
    ImageError,
    given_file,
)
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import (
    certificates,
    confinement,
    docker_networks,
    guardrails,
    memory_limits,
    placement,
    spelling,
    time_zones,
    vault_values,
)
from ansible_collections.auscat.imaging.plugins.module_utils.inventory.addresses import (
    AddressError,
    host_addresses,
    known_addresses,
    look_up,
    with_addresses,
)
from ansible_collections.auscat.imaging.plugins.module_utils.inventory.checks import (
    address_problems,
    is_missing_secret,
    mirror_problems,
    path_problems,
    proof_problems,
    root_problems,
    secret_problems,
    service_problems,
    service_roles,
    specification_problems,
    url_problems,
    volume_problems,
)
from ansible_collections.auscat.imaging.plugins.module_utils.inventory.definitions import (
    REQUIRED_KEYS,
    after_problems,
    definition_problems,
    host_directories,
    published_ports,
    with_companions,
    without_repeated_ports,
)
from ansible_collections.auscat.imaging.plugins.module_utils.services import directory
from ansible_collections.auscat.imaging.plugins.module_utils.services.orthanc_settings import (
    unknown_settings,
)
from ansible_collections.auscat.imaging.plugins.module_utils.status import notify_settings

#: What Ansible writes in front of what a lookup of this collection says.
LOOKUP = "The lookup plugin 'auscat.imaging.machine_certificate' failed: "

COLLECTION = Path(__file__).resolve().parents[2]
MISSING = object()
#: Services with data that name patients; a machine that runs one of them is identifiable.
IDENTIFIABLE = ("keydb", "ctp")
#: Secrets of several lines.
TEXTS = ("auscat_tls_key", "backup_sftp_private_key")
#: URLs that may hold a password.
PROXIES = ("auscat_http_proxy", "auscat_https_proxy")
#: URLs of Debian mirrors.
MIRRORS = ("images_debian_mirror", "images_debian_security_mirror")
#: Where a password in these would stand.
OPEN = {
    **dict.fromkeys(
        MIRRORS,
        "the images would have it in apt's sources. Name a mirror that asks for none.",
    ),
    "docker_engine_environment": "anybody on the machine may ask systemd for it. A proxy belongs "
    "in auscat_http_proxy and auscat_https_proxy, whose files only root can read.",
}


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the host's facts, or fail with all problems of inventory and host."""
        result = super().run(tmp, task_vars)
        self._variables = task_vars or {}
        self._looked_up: dict[str, list[str]] = {}
        host = self._variables["inventory_hostname"]
        # Whatever is not called a simulation is held to production's rules.
        production = self._value("auscat_environment", "production") != "simulation"
        problems, definitions = self._inventory_problems()
        slips, said = self._slips()
        problems = [*slips, *problems]
        unreachable = address_problems(host, self._value("ansible_host", host))
        problems = [*unreachable, *problems]
        result["warnings"] = said
        memory = memory_limits.inventory_problems(*self._memory(definitions))
        problems += memory
        if production:
            problems += self._guarded_inventory(definitions)
        # Names among the sources become addresses, as in __auscat_definitions of the role auscat.
        definitions = with_addresses(
            definitions,
            self._variables["groups"],
            self._variables["hostvars"],
            host,
            self._look_up,
            limited=self._limits_outgoing(),
        )
        own_ports = self._quietly("__firewall_own_ports") or []
        problems += placement.stack_name_problems(
            str(self._quietly("auscat_stack_name")),
            [str(each["name"]) for each in definitions if each.get("name")],
        )
        problems += definition_problems(definitions, own_ports) + declaration_problems(definitions)
        problems += self._outgoing_problems(definitions)
        # The host half still looks at those services that nothing is wrong with.
        definitions = [each for each in definitions if not definition_problems([each])]
        if unreachable:
            return {**result, **self._failure(problems)}
        data_root = self._value("auscat_data_root")
        config_root = self._value("auscat_config_root")
        wished = machine_lock.arguments(self._variables, {})
        # Off where test hosts are made: many at once, on a machine that is no node.
        holds = not self._task.check_mode and self._quietly("__preflight_holds", True)

        def look() -> dict[str, Any]:
            return self._execute_module(
                module_name="auscat.imaging.preflight",
                module_args={
                    **self._task.args,
                    "data_root": data_root if isinstance(data_root, str) else "",
                    "config_root": config_root if isinstance(config_root, str) else "",
                    "device": str(self._quietly("host_volume_device", "") or ""),
                    "directories": host_directories(definitions, data_root) if definitions else [],
                    # Those of a node made by hand are free once it is taken over.
                    "ports": [
                        port
                        for port in published_ports(definitions)
                        if f"{port['published']}/{port['protocol']}"
                        not in (self._quietly("__adopt_freed_ports") or [])
                    ],
                    "packages": self._value("__auscat_packages"),
                    "stack": self._value("auscat_stack_name"),
                    # What connects to others there ends before our own services begin.
                    "replaced": self._quietly("__adopt_replaced") or [],
                    "repositories": self._repositories(),
                    # A run that is refused anyway keeps nobody waiting.
                    "lock": wished if holds and not problems else None,
                },
                task_vars=task_vars,
            )

        result["run"] = ""
        try:
            answer = look()
            if lock := answer.pop("lock", None):
                busy, held = machine_lock.settle(self, task_vars, wished, lock, {})
                problems += [busy] if busy else []
                result["run"] = held.get("run", "")
                result["warnings"] += held.get("warnings", [])
                # What was seen while another run changed it is out of date.
                if lock["holder"] and not busy:
                    answer = look()
                    answer.pop("lock", None)
        except AnsibleError as error:
            if root := root_problems(str(error), host):
                return {**result, **self._failure([*problems, *root])}
            # Nobody should have to make a machine reachable to read what the inventory lacks.
            if not problems or not isinstance(error, AnsibleConnectionFailure):
                raise
            answer = {"failed": True, "msg": str(error)}
        if answer.get("failed"):
            if problems:
                problems.append(f"The machine itself could not be inspected: {answer.get('msg')}")
                answer = self._failure(problems)
            return {**result, **answer}
        problems += answer["problems"]
        if not memory:
            problems += memory_limits.machine_problems(
                answer["host"]["memory_mib"], *self._memory(definitions)
            )
        problems += place_problems(
            answer["host"].get("repositories", []),
            answer["host"].get("data_place", {}),
            self._is_true("backup_allow_data_disk", False),
        )
        refused, said = self._engine_findings(definitions, own_ports, answer["host"])
        problems += refused
        result["warnings"] += said
        if production:
            problems += self._guarded_host(definitions, answer["host"])
        if problems:
            answer = self._failure(problems)
        else:
            # One answer for the whole run, as __auscat_definitions takes it.
            result["looked_up"] = self._looked_up
        result["warnings"] += answer.pop("warnings", [])
        return {**result, **answer}

    def _failure(self, problems: list[str]) -> dict[str, Any]:
        host = self._variables["inventory_hostname"]
        listed = "\n".join(f"- {problem}" for problem in problems)
        return {
            "failed": True,
            "msg": f"{len(problems)} problem(s) on {host}:\n{listed}\n"
            f"Nothing was changed on {host}.",
        }

    def _value(self, name: str, default: Any = MISSING) -> Any:
        """Return a variable, templated; the default when it is not set."""
        if name not in self._variables:
            return default
        return self._templar.template(self._variables[name])

    def _quietly(self, name: str, default: Any = None) -> Any:
        """Return a variable, or the default where it cannot be evaluated: that is reported once."""
        try:
            return self._value(name, default)
        except AnsibleError:
            return default

    def _is_true(self, name: str, default: bool) -> bool:
        value = self._quietly(name, default)
        try:
            return bool(boolean(value))
        except TypeError:  # no truth value: the check of the specifications has reported it
            return default

    @cached_property
    def _specifications(self) -> dict[str, dict[str, Any]]:
        """Options of each role of the play by their names, from its argument specification."""
        found = {}
        # The dependencies too: the role auscat is nothing but a dependency.
        for role in self._variables.get("ansible_role_names", []):
            name = role.rsplit(".", 1)[-1]
            file = COLLECTION / "roles" / name / "meta" / "argument_specs.yml"
            if file.exists():
                options = yaml.safe_load(file.read_text())["argument_specs"]["main"]["options"]
                found[name] = options or {}
        return found

    def _slips(self) -> tuple[list[str], list[str]]:
        """Return what is refused of names that nobody knows, and what is only said."""
        problems, said = findings(self._variables, load_extra_vars(self._loader))
        for role, options in self._specifications.items():
            for name in options.keys() & spelling.KEYS.keys():
                accepted = spelling.KEYS[name]
                problems += spelling.key_problems(name, self._quietly(name), accepted)
            if role == "images":
                of_services = {
                    each.removesuffix("_image")
                    for each in known_variables()
                    if each.endswith("_image")
                }
                published = self._quietly("images_published")
                problems += spelling.key_problems("images_published", published, of_services)
        refused, more = spelling.engine_settings_findings(self._quietly("docker_engine_options"))
        groups, hosts = self._variables["groups"], set(self._variables["hostvars"])
        problems += refused
        problems += spelling.file_findings(self._variable_files("group_vars"), groups, "group")
        problems += spelling.file_findings(self._variable_files("host_vars"), hosts, "host")
        if self._variables["inventory_hostname"] in self._hosts_of("orthanc"):
            more += unknown_settings(self._quietly("orthanc_options"))
        return problems, [*said, *more]

    def _variable_files(self, below: str) -> dict[str, str]:
        """Return the files of the inventory's variables with the group or host that each is for."""
        return {
            str(file): file.name if file.is_dir() else file.stem
            for directory in self._inventory_directories()
            if (directory / below).is_dir()
            for file in (directory / below).iterdir()
            if file.is_dir() or file.suffix in ("", ".yml", ".yaml", ".json")
            if not file.name.startswith(".")
        }

    def _inventory_directories(self) -> list[Path]:
        sources = self._variables.get("ansible_inventory_sources") or []
        paths = [Path(str(each)) for each in sources]
        return [path if path.is_dir() else path.parent for path in paths]

    def _pools(self) -> list[str]:
        """Return auscat_docker_address_pools; an empty list where something is wrong with it."""
        pools = self._quietly("auscat_docker_address_pools") or []
        return [] if docker_networks.pool_problems(pools) else list(pools)

    def _site_problems(self) -> list[str]:
        """Return what is wrong with what all services share."""
        problems = docker_networks.pool_problems(
            self._quietly("auscat_docker_address_pools", []) or []
        )
        zone = self._quietly("auscat_timezone")
        if isinstance(zone, str):
            problems += time_zones.problems(zone)
        http, https = ("" if (v := self._quietly(name)) is None else str(v) for name in PROXIES)
        for pair in ((http, ""), ("", https)):
            try:
                site_network.proxy_variables(*pair, [])
            except site_network.SiteNetworkError as error:
                problems.append(str(error))
        return problems + mirror_problems({name: self._quietly(name) for name in MIRRORS})

    def _placement_problems(self, services: Any) -> list[str]:
        """Return what is wrong with the machines that the services are placed on."""
        if not isinstance(services, dict):
            return []
        host, groups = self._variables["inventory_hostname"], self._variables["groups"]
        problems = placement.outside_problems(
            services,
            groups,
            self._variables.get("ansible_play_hosts_all") or [host],
            bool(self._variables.get("ansible_limit")),
        )
        problems += placement.single_problems(services, groups, host)
        pair = {each for role in ("ctp", "orthanc") for each in self._hosts_of(role)}
        apart = any(
            self._quietly(name) for name in ("__auscat_ctp_elsewhere", "__auscat_orthanc_elsewhere")
        )
        if not apart:
            return problems
        known = {}
        for each in sorted(pair):
            try:
                known[each] = host_addresses(each, self._variables["hostvars"])
            except AddressError:
                continue  # reported with the ports' sources
        return problems + placement.family_problems(known)

    def _unlock_key_problems(self) -> list[str]:
        """Refuse autolock where the key that Swarm will choose could not be kept."""
        try:
            path = directory_of(self._quietly("ansible_inventory_sources") or []) / VAULT
            opened(self._loader._vault, path)
        except (vault_values.VaultError, AnsibleError, OSError) as error:
            return [
                "swarm_autolock is true, and the inventory's vault, which is to keep the Swarm's "
                f"key, cannot be written. {error}"
            ]
        return []

    def _look_up(self, name: str) -> list[str]:
        """Return the addresses of a name, and note them."""
        if name not in self._looked_up:
            self._looked_up[name] = list(look_up(name))
        return self._looked_up[name]

    def _limits_outgoing(self) -> bool:
        return self._is_true("__auscat_limits_outgoing", True)

    def _outgoing_problems(self, definitions: list[dict[str, Any]]) -> list[str]:
        """Return what is wrong with whom others may connect to, and who has said nothing of it."""
        named = self._quietly("__auscat_outgoing_of_others") or []
        if not self._limits_outgoing():
            return []
        named = with_addresses(
            named,
            self._variables["groups"],
            self._variables["hostvars"],
            self._variables["inventory_hostname"],
            self._look_up,
        )
        problems = [
            problem
            for each in named
            for problem in confinement.outgoing_problems(each["outgoing"], "firewall_outgoing_of")
        ]
        return problems + confinement.undeclared_problems(
            definitions, [each["name"] for each in named]
        )

    def _engine_findings(
        self,
        definitions: list[dict[str, Any]],
        own_ports: list[dict[str, Any]],
        facts: dict[str, Any],
    ) -> tuple[list[str], list[str]]:
        """Return what is refused of the machine's engine and networks, and what is only said."""
        host, engine = self._variables["inventory_hostname"], facts.get("engine", {})
        problems: list[str] = []
        if "docker_engine" in self._specifications:
            wished = self._quietly("docker_engine_packages") or []
            problems += engine_setup.foreign_problems(facts["foreign"], wished, host)
        with_swarm = "swarm" in self._specifications
        if with_swarm:
            problems += engine_setup.setting_problems(
                facts["docker_configuration"], self._quietly("docker_engine_options")
            )
            problems += engine_setup.swarm_state_problems(engine, host)
            problems += engine_setup.address_problems(
                engine,
                facts.get("address", "") if facts.get("has_ip") else None,
                self._quietly("swarm_advertise_address"),
            )
            problems += docker_networks.swarm_pool_problems(
                self._pools(), engine.get("swarm_pools", []), host
            )
        if not definitions:
            return problems, []
        unlimited, limited = self._neighbour_findings(facts)
        problems += unlimited
        ports = [port for each in definitions for port in each.get("ports") or []]
        sources: dict[str, list[str]] = {}
        for port in [*ports, *own_ports]:
            label = str(port.get("sources_variable") or f"port {port.get('published')}")
            given = port.get("sources")
            for source in given if isinstance(given, (list, tuple)) else ():
                sources.setdefault(label, []).append(str(source))
        for other in {*self._hosts_of("ctp"), *self._hosts_of("orthanc")} - {host}:
            addresses = known_addresses(other, self._variables["hostvars"])
            sources[f"The machine {other}"] = addresses
        # One for each of the stack, and the Swarm's own.
        overlays = len(confinement.networks(definitions)[1]) + 1 if with_swarm else 0
        for each in definitions:
            for to in each.get("outgoing") or []:
                sources.setdefault(to["variable"], []).extend(to.get("networks") or [])
        refused, said = docker_networks.collisions(facts, self._pools(), sources, overlays)
        return problems + refused, said + limited

    def _neighbour_findings(self, facts: dict[str, Any]) -> tuple[list[str], list[str]]:
        """Return who would lose connections by this run, which is refused, and who has none."""
        if not self._limits_outgoing() or "stack" not in self._specifications:
            return [], []
        named = [each["name"] for each in self._quietly("__auscat_outgoing_of_others") or []]
        found = confinement.neighbour_findings(
            facts.get("neighbours", []), named, self._variables["inventory_hostname"]
        )
        if facts.get("outgoing_limited"):
            return [], found
        # Without that role, the role stack leaves the rules as they are.
        return (found, []) if "firewall" in self._specifications else ([], [])

    def _hosts_of(self, role: str) -> list[str]:
        """Return the hosts that a role concerns: those of its service, or all of the node."""
        services = self._quietly("auscat_services")
        services = services if isinstance(services, dict) else {}
        groups = self._variables["groups"]
        if f"{role}_service" not in self._variables:
            placed = {host for group in services.values() for host in groups.get(group, [])}
            return sorted({*placed, self._variables["inventory_hostname"]})
        return sorted(groups.get(services.get(role), []))

    def _inventory_problems(self) -> tuple[list[str], list[dict[str, Any]]]:
        """Return the problems, and the definitions of this host's services that can be had."""
        problems = []
        host = self._variables["inventory_hostname"]
        for role, options in self._specifications.items():
            # What a service needs is asked for where it runs, and only there.
            if host in self._hosts_of(role):
                problems += specification_problems(options, self._value, MISSING)
                problems += url_problems(
                    {name: self._quietly(name) for name in options.keys() & OPEN.keys()}, OPEN
                )
                problems += secret_problems(
                    {
                        name: self._quietly(name)
                        for name, each in options.items()
                        if each.get("no_log") or name in PROXIES
                    },
                    TEXTS,
                )
        problems += path_problems(
            {name: self._value(name) for name in ("auscat_data_root", "auscat_config_root")}
        )
        problems += volume_problems(
            str(self._quietly("host_volume_device", "") or ""),
            self._is_true("host_volume_encryption", False),
        )
        if "verify" in self._specifications and self._is_true("verify_enabled", True):
            problems += proof_problems(
                self._quietly("verify_packages"),
                self._specifications["verify"]["verify_packages"]["default"],
            )
        if "status" in self._specifications:
            problems += self._notify_problems()
        if "backup" in self._specifications:
            backup = {name: self._quietly(name) for name in self._specifications["backup"]}
            problems += backup_problems(backup, str(self._quietly("auscat_data_root", "")))
        if "swarm" in self._specifications and self._is_true("swarm_autolock", False):
            problems += self._unlock_key_problems()
        services = self._value("auscat_services")
        declared = [name[:-8] for name in self._variables if name.endswith("_service")]
        # A play of platform roles alone has none of the services that the default names.
        usual = self._specifications.get("auscat", {}).get("auscat_services", {}).get("default")
        if declared or services != usual:
            known = {*declared, *service_roles(COLLECTION / "roles")}
            found = service_problems(services, known, self._variables["groups"])
            # Of another type, the check of the specifications has reported it.
            problems += found if isinstance(services, dict) or usual is None else []
        problems += self._site_problems() + self._placement_problems(services)
        sound: list[Any] = []
        #: Their companions are not known, so neither is whether `after` names one of them.
        incomplete: set[str] = set()
        here = services if isinstance(services, dict) else {}
        placed = [
            service
            for service, group in here.items()
            if service in declared and group in self._variables["group_names"]
        ]
        if placed:
            problems += self._certificate_problems(host)
        for service in placed:
            try:
                sound.append(self._value(f"{service}_service"))
            except AnsibleError as error:
                # What can be had of it, so that its ports and directories are checked all the same.
                parts, others = self._parts(f"{service}_service")
                for each in (error, *others):
                    # Mostly the variable that is at fault has been reported already.
                    said = any(_said(each) in problem for problem in problems)
                    if not said and not is_missing_secret(str(each)):
                        problems.append(f"The service {service} cannot be put together: {each}")
                if "companions" not in parts:
                    parts["ports"] = [*(parts.get("ports") or []), *self._companion_ports(service)]
                    incomplete.add(service)
                parts.setdefault("outgoing", [])  # what it would have said is reported already
                if parts.keys() >= REQUIRED_KEYS:
                    sound.append(parts)
        definitions = without_repeated_ports(with_companions(sound), incomplete)
        problems += self._given_file_problems(definitions)
        everywhere = {*declared, *here, *service_roles(COLLECTION / "roles")}
        judged = [each for each in definitions if each.get("name") not in incomplete]
        return [*problems, *after_problems(judged, everywhere)], definitions

    def _certificate_problems(self, host: str) -> list[str]:
        """Return what is wrong with the certificate of this host, which its services take."""
        mode = self._quietly("auscat_tls")
        if mode not in certificates.MODES:
            return []  # the check of the specifications has reported it
        others = {
            *(self._quietly("__auscat_ctp_elsewhere") or []),
            *(self._quietly("__auscat_orthanc_elsewhere") or []),
        }
        usual = self._specifications.get("auscat", {}).get("auscat_tls", {}).get("default")
        modes = {other: self._of_host(other, "auscat_tls") or usual for other in others}
        if found := certificates.mode_problems(mode, modes):
            return found
        try:
            tls = self._value("__auscat_tls", MISSING)
        except AnsibleError as error:
            return [_said(error)]
        if tls is MISSING:
            return []
        hostvars = self._variables["hostvars"]
        if tls["mode"] == "own_ca":
            return certificates.problems(tls, certificates.machine_names(host, hostvars))
        names = list(map(str, self._quietly("auscat_tls_names") or []))
        given = certificates.given_names(host, hostvars)
        # Between two machines each shows the other who it is.
        return certificates.problems(tls, names, given, mutual=bool(others))

    def _notify_problems(self) -> list[str]:
        """Return what is wrong with how people are told of alerts."""
        # What cannot be evaluated, the check of the specifications has reported.
        given = self._quietly(notify_settings.VARIABLE, {})
        problems = notify_settings.problems(
            given,
            self._quietly(notify_settings.PASSWORD, ""),
            self._quietly(notify_settings.HEADERS, {}),
            lambda path: Path(path).expanduser().read_text(encoding="utf-8"),
        )
        timer = self._is_true("status_timer", True)
        return problems + notify_settings.timer_problems(given, timer)

    def _given_file_problems(self, definitions: list[dict[str, Any]]) -> list[str]:
        """Return what is wrong with the files that the operator brings for images to be built."""
        if self._quietly("images_source") == "archive":
            return []  # the bundle has the images
        used = {str(definition.get("image")) for definition in definitions}
        problems = []
        for image in (self._quietly("__images_described") or {}).values():
            if image["file"] and image["ref"] in used:
                named = self._quietly(image["file"]["variable"], "")
                try:
                    given_file(image["file"], str(named or ""))
                except (ImageError, OSError) as error:
                    problems.append(str(error))
        return problems

    def _memory(self, definitions: list[dict[str, Any]]) -> tuple[int, int | None]:
        """Return the largest object, and Orthanc's limit where it runs here, both in MiB."""
        values: list[int] = []
        for name in ("auscat_largest_object_mib", "orthanc_memory_mib"):
            try:
                values.append(int(self._quietly(name) or 0))
            except (TypeError, ValueError):
                values.append(0)  # the check of the specifications has reported it
        here = any(each.get("name") == "orthanc" for each in definitions)
        if not all(values) and here:
            return memory_limits.LEAST_MIB, None
        return values[0] or memory_limits.LEAST_MIB, values[1] if here else None

    def _repositories(self) -> list[dict[str, str]]:
        """Return the directories that the backups of this host go to, with their variables."""
        names = [name for name in self._specifications.get("backup", {}) if "_repository" in name]
        found = {name: str(self._quietly(name, "") or "") for name in names}
        return [
            {"name": name, "path": path}
            for name, path in found.items()
            if posixpath.isabs(path) and not REMOTE.match(path)
        ]

    def _parts(self, name: str) -> tuple[dict[str, Any], list[AnsibleError]]:
        """Return those items of a mapping that can be evaluated, and why the others cannot."""
        parts, errors = {}, []
        raw = self._variables[name]
        for key, value in raw.items() if isinstance(raw, dict) else ():
            try:
                parts[key] = self._templar.template(value)
            except AnsibleError as error:
                errors.append(error)
        return parts, errors

    def _companion_ports(self, service: str) -> list[dict[str, Any]]:
        """Return the ports of companions that cannot be put together, and of the service's page."""
        ports: list[dict[str, Any]] = []
        for name, raw in self._variables.items():
            if name.startswith(f"__{service}_") and isinstance(raw, dict):
                if {"image", "ports"} <= raw.keys():
                    ports += self._parts(name)[0].get("ports") or []
                elif {"port", "upstream"} <= raw.keys():
                    # The front publishes it.
                    port = self._parts(name)[0].get("port")
                    if port:
                        named = {"name": port["service"], "target": port["published"]}
                        ports.append({**port, **named, "protocol": "tcp"})
        return [{key: value for key, value in port.items() if key != "service"} for port in ports]

    def _guarded_inventory(self, definitions: list[dict[str, Any]]) -> list[str]:
        """Return what production refuses of the inventory alone."""
        ports = [
            {**port, "service": definition.get("name")}
            for definition in definitions
            for port in definition.get("ports") or []
        ]
        problems = guardrails.vault_problems(self._vault_files())
        if not definitions:
            return problems
        in_clear = bool(self._quietly("__auscat_ctp_elsewhere")) and not self._is_true(
            "orthanc_dicom_tls", True
        )
        problems += guardrails.tls_problems(self._quietly("auscat_tls"), in_clear)
        if any(definition.get("name") == "orthanc" for definition in definitions):
            problems += directory.without_tls(
                {name: self._quietly(name) for name in ("orthanc_ldap", "orthanc_oidc")}
            )
        host = self._variables["inventory_hostname"]
        problems += guardrails.machine_problems(host, self._addresses())
        problems += guardrails.password_problems(self._credentials())
        for definition in definitions:
            if definition.get("name") == "ctp":
                problems += guardrails.flavour_problems(
                    self._quietly("ctp_flavour"),
                    str(definition.get("image")),
                    self._quietly("ctp_distribution"),
                    self._is_true("auscat_rehearsal", False),
                )
                problems += self._distribution_problems()
        problems += guardrails.image_problems(
            {definition["name"]: definition.get("image") for definition in definitions},
            str(self._quietly("images_source", "")),
            self._quietly("images_archive_checksum"),
        )
        problems += guardrails.restriction_problems(
            self._is_true("firewall_restrict_published_ports", True)
        )
        problems += guardrails.missing_source_problems(ports)
        resolved = with_addresses(
            definitions, self._variables["groups"], self._variables["hostvars"], host
        )
        ports = [
            {**port, "service": definition.get("name")}
            for definition in resolved
            for port in definition.get("ports") or []
        ]
        problems += guardrails.open_port_problems(ports)
        problems += guardrails.machine_source_problems(ports)
        problems += guardrails.patient_list_problems(
            port for port in ports if port["service"] == "keydb"
        )
        identifiable = {host for role in IDENTIFIABLE for host in self._hosts_of(role)}
        if host not in identifiable:
            return problems
        return problems + guardrails.other_side_problems(
            # A sender's network holds many machines, and what is sent there comes back to nobody.
            (port for port in ports if port.get("name") != "dicom"),
            {
                other: known_addresses(other, self._variables["hostvars"])
                for other in self._hosts_of("orthanc")
                if other not in identifiable
            },
        )

    def _distribution_problems(self) -> list[str]:
        """Return what production refuses of the distribution of CTP."""
        named = str(self._quietly("ctp_distribution", "") or "")
        source = Path(named).expanduser()
        flavour, checksum = self._quietly("ctp_flavour"), self._quietly("ctp_distribution_checksum")
        problems = guardrails.distribution_problems(flavour, named, checksum, "", source.is_file())
        if not problems:
            return []
        try:
            found = distribution.checksum(named)
        except (distribution.DistributionError, OSError):
            return problems  # what is wrong with it is reported where it is unpacked
        return guardrails.distribution_problems(flavour, named, checksum, found, source.is_file())

    def _guarded_host(self, definitions: list[dict[str, Any]], facts: dict[str, Any]) -> list[str]:
        """Return what production refuses of what the host says of itself."""
        root = self._quietly("auscat_data_root")
        if not definitions or not isinstance(root, str):
            return []
        problems = guardrails.swarm_problems(
            facts.get("engine", {}), self._is_true("preflight_accept_shared_swarm", False)
        )
        problems += guardrails.system_disk_problems(
            root,
            # A device that the inventory names is mounted there by the role host_volume.
            bool(facts["data_on_system_disk"]) and not self._quietly("host_volume_device", ""),
            self._is_true("host_volume_allow_system_disk", False),
        )
        wished = {
            (str(definition["name"]), str(directory["target"])): posixpath.join(
                root, str(directory["path"])
            )
            for definition in definitions
            for directory in definition.get("directories") or []
        }
        return problems + guardrails.moved_data_problems(facts["held_data"], wished)

    def _of_host(self, host: str, name: str) -> Any:
        """Return a variable as a host of the inventory has it; None where it cannot be had."""
        if host == self._variables["inventory_hostname"]:
            return self._quietly(name)
        try:
            return self._variables["hostvars"][host].get(name)
        except AnsibleError:
            return None

    def _credentials(self) -> list[guardrails.Credential]:
        """Return the passwords of all machines of the node, since none may be used twice."""
        here = self._variables["inventory_hostname"]
        return [
            credential
            for role, options in self._specifications.items()
            for name, option in options.items()
            if option.get("no_log") and guardrails.PASSWORD_OPTION.match(name)
            for host in self._hosts_of(role)
            for credential in guardrails.credentials_of(
                name, self._of_host(host, name), host == here
            )
        ]

    def _addresses(self) -> dict[str, str]:
        """Return what Ansible connects to for each machine of the node."""
        hosts = sorted({host for role in self._specifications for host in self._hosts_of(role)})
        return {
            host: f"{self._of_host(host, 'ansible_host') or host}"
            + (f" port {port}" if (port := self._of_host(host, "ansible_port")) else "")
            for host in hosts
        }

    def _vault_files(self) -> dict[str, str]:
        """Return path and content of the inventory's files that are meant to be encrypted."""
        found = {}
        for place in self._inventory_directories():
            for below in ("group_vars", "host_vars"):
                for file in sorted((place / below).rglob("*")):
                    name = file.relative_to(place / below).as_posix()
                    if file.is_file() and guardrails.is_vault_file(name):
                        found[str(file)] = file.read_text(encoding="utf-8", errors="replace")
        return found


def _said(error: AnsibleError) -> str:
    return str(error).rpartition(LOOKUP)[2]
