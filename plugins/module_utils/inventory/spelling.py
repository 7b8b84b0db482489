"""Names that nobody knows: variables and keys, with the known name that each is nearest to.

Pure. A variable that no role or playbook reads has no effect, and nothing says so: a port that was
meant to move stays where it is.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

#: Roles whose names are no words that other collections begin their variables with, too.
UNMISTAKABLE = ("auscat", "ctp", "docker_engine", "host_volume", "keydb", "orthanc", "portainer")
#: How alike names have to be to be a slip of each other (0 to 1, difflib's ratio).
ALIKE = 0.9
#: The same of what stands behind a role's name, and where a name was typed for this run.
LIKELY = 0.8
#: The same of what stands behind the name of a role that is unmistakable.
OF_OURS = 0.7

#: What a person gives a playbook for one run, beside the variables of the roles: with -e.
PLAYBOOK_VARIABLES = frozenset(
    {
        *("backup_adopt", "break_lock", "restore_kinds", "restore_replace", "restore_snapshot"),
        *("keys_file", "maintenance", "release", "renew", "rotate", "study"),
        *("port_table_file", "port_table_format"),
        *("purge_confirm", "purge_exported", "purge_older_than_days"),
    }
)

#: Keys of mappings that no other check goes through.
KEYS: dict[str, tuple[str, ...]] = {
    "firewall_ports": ("published", "sources", "protocol", "name", "purpose"),
    "images_registry_login": ("url", "username", "password"),
    "stack_healthcheck": ("interval", "timeout", "start_period", "retries"),
}
#: Settings of daemon.json: the engine does not start with one that it does not know. The options of
#: `dockerd --help` (20.10.24, Debian 12), of which lists have the plural, the settings that are no
#: options, and those that later engines have added.
_ENGINE_SETTINGS = """
    allow-nondistributable-artifacts api-cors-header authorization-plugins bip bridge builder
    cgroup-parent containerd containerd-namespace containerd-plugin-namespace cpu-rt-period
    cpu-rt-runtime data-root debug default-address-pools default-cgroupns-mode default-gateway
    default-gateway-v6 default-ipc-mode default-network-opts default-runtime default-shm-size
    default-ulimits dns dns-opts dns-search exec-opts exec-root experimental features fixed-cidr
    fixed-cidr-v6 group hosts host-gateway-ip http-proxy https-proxy icc init init-path
    insecure-registries ip ip-forward ip-masq ip6tables iptables ipv6 labels live-restore log-driver
    log-format log-level log-opts max-concurrent-downloads max-concurrent-uploads
    max-download-attempts metrics-addr mtu network-control-plane-mtu no-new-privileges no-proxy
    node-generic-resources oom-score-adjust pidfile proxies raw-logs registry-mirrors rootless
    runtimes seccomp-profile selinux-enabled shutdown-timeout storage-driver storage-opts
    swarm-default-advertise-addr tls tlscacert tlscert tlskey tlsverify userland-proxy
    userland-proxy-path userns-remap
"""
ENGINE_SETTINGS = frozenset(_ENGINE_SETTINGS.split())


def nearest(name: str, known: Iterable[str], alike: float = LIKELY) -> str:
    """Return the known name that a name is nearest to; empty where none is near.

    Args:
        name: what was written.
        known: what could be meant.
        alike: how alike they have to be, as above.
    """
    by_letters = {_letters(each): each for each in sorted(known)}
    found = difflib.get_close_matches(_letters(name), by_letters, 1, alike)
    return by_letters[found[0]] if found else ""


@cache
def _letters(name: str) -> str:
    return re.sub("[-_ .]", "", name).casefold()


def candidates(names: Iterable[str], known: Collection[str]) -> list[str]:
    """Return those names that could be slips: neither known, internal, Ansible's nor a secret's."""
    return sorted(
        name
        for name in names
        if name not in known and not name.startswith(("_", "ansible_", "vault_"))
    )


def variable_findings(
    names: Iterable[str],
    known: Collection[str],
    roles: Collection[str],
    typed: Collection[str] = (),
) -> tuple[list[str], list[str]]:
    """Return what is refused of names of variables, and what is only said.

    Args:
        names: `candidates` that no other variable refers to.
        known: the variables that roles and playbooks read.
        roles: names of the roles, with which their variables begin.
        typed: those names that were given for this run alone (-e).
    """
    refused, said = [], []
    prefixes = tuple(f"{role}_" for role in roles)
    for name in names:
        role = max((each for each in roles if name.startswith(f"{each}_")), key=len, default="")
        where = "on the command line (-e)" if name in typed else "in the inventory"
        if role:
            near = _of_role(name, known, role) or nearest(name, known, ALIKE)
        elif name in typed:
            near = nearest(name, known, LIKELY)
        else:
            near = nearest(name, [each for each in known if each.startswith(prefixes)], ALIKE)
        if not (near or role) and name.count("_") >= 2:
            # The name of the role left out.
            near = next((each for each in sorted(known) if each.endswith(f"_{name}")), "")
        unread = f"{name} is set {where}, and no role or playbook reads it"
        if near:
            refused.append(
                f"{unread}. Accepted: a variable that docs/variables.md or the playbook's own page "
                f"names. The nearest is {near}. Correct the name, or rename the variable if it is "
                "your own."
            )
        elif role:
            said.append(
                f"{unread}: it has no effect here. It begins as the variables of the role {role} "
                "do (docs/variables.md); if it belongs to something else, all is well."
            )
    return refused, said


def _of_role(name: str, known: Iterable[str], role: str) -> str:
    """Return the variable of a role that is nearest by what stands behind the role's name."""
    prefix = f"{role}_"
    rests = [each.removeprefix(prefix) for each in known if each.startswith(prefix)]
    alike = OF_OURS if role in UNMISTAKABLE else LIKELY
    found = nearest(name.removeprefix(prefix), rests, alike)
    return f"{prefix}{found}" if found else ""


def secret_findings(
    names: Iterable[str], missing: Iterable[str], words: Collection[str]
) -> list[str]:
    """Return the secrets that nothing takes, while one that is near to its name is missing.

    Args:
        names: all variables that are set.
        missing: names of secrets that variables refer to and that are not set.
        words: all words that stand in templates, of any host.
    """
    lacking = {each.removeprefix("vault_") for each in missing}
    problems = []
    for name in sorted(names):
        if not name.startswith("vault_") or name in words:
            continue
        if near := nearest(name.removeprefix("vault_"), lacking, ALIKE):
            problems.append(
                f"{name} is set, and nothing in the inventory takes it, while vault_{near} is "
                "taken and not set. Accepted: a name that the inventory refers to. Rename it to "
                f"vault_{near} in the vault (ansible-vault edit, docs/secrets.md)."
            )
    return problems


def words_of(value: Any) -> Iterator[str]:
    """Yield the words of all templates in a value, wherever in lists and mappings they stand."""
    if isinstance(value, str):
        if "{{" in value or "{%" in value:
            yield from re.findall(r"[A-Za-z_]\w*", value)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from words_of(key)
            yield from words_of(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from words_of(each)


def key_problems(variable: str, value: Any, accepted: Collection[str]) -> list[str]:
    """Return the keys of a mapping, or of each mapping of a list, that nobody reads.

    Args:
        variable: its name.
        value: what it is; of another type, the check of the specifications reports it.
        accepted: the keys that are read.
    """
    if isinstance(value, list):
        return [
            problem
            for index, each in enumerate(value)
            if isinstance(each, Mapping)
            for problem in key_problems(f"{variable}[{index}]", each, accepted)
        ]
    if not isinstance(value, Mapping):
        return []
    return [
        f"{variable} has the unknown key {key!r}. Accepted: {', '.join(sorted(accepted))}."
        f"{hint(key, accepted)} Correct it in the inventory."
        for key in value
        if key not in accepted
    ]


def hint(name: Any, known: Iterable[str]) -> str:
    """Return a sentence that names the nearest of the known names, with a blank before it."""
    near = nearest(str(name), known, 0.6)
    return f" The nearest is {near}." if near else ""


def engine_settings_findings(options: Any) -> tuple[list[str], list[str]]:
    """Return what is refused of docker_engine_options' keys, and what is only said."""
    refused, said = [], []
    for name in options if isinstance(options, Mapping) else ():
        if name in ENGINE_SETTINGS:
            continue
        what = f"docker_engine_options has {name!r}, which is no setting of daemon.json"
        near = nearest(str(name), ENGINE_SETTINGS)
        if near:
            refused.append(
                f"{what}: the engine would not start. Accepted: settings of the Docker engine. The "
                f"nearest is {near}. Correct it in the inventory."
            )
        else:
            said.append(
                f"{what} that is known here. An engine that does not know it does not start."
            )
    return refused, said


def file_findings(files: Mapping[str, str], names: Collection[str], kind: str) -> list[str]:
    """Refuse files of variables for a group or host that the inventory does not have.

    Args:
        files: path of each file or directory in group_vars or host_vars to the name it is for.
        names: of the groups or hosts of the inventory.
        kind: "group" or "host".
    """
    return [
        f"{path} is for the {kind} {name!r}, which the inventory does not have, so nobody reads it."
        f" Accepted: the name of a {kind} of the inventory. The nearest is {near}. Rename one of "
        "the two."
        for path, name in sorted(files.items())
        if name not in names and (near := nearest(name, names))
    ]
