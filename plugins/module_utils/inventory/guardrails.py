"""What production refuses: pure checks of an inventory and of what a host says of itself.

The preflight calls them for inventories with ``auscat_environment: production`` and puts what they
return into its one report. Each text names variable, value (never a password), accepted and remedy;
docs/errors.md says why each is refused.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.auscat.imaging.plugins.module_utils.firewall import port_rules

try:
    import yaml
except ModuleNotFoundError:
    # The controller alone calls this, and has it; a managed machine need not.
    yaml = None  # type: ignore[assignment]

#: Least length of a password in characters.
PASSWORD_LENGTH = 16
#: Fewer different characters than this are a pattern and no password.
PASSWORD_VARIETY = 6
#: Passwords that the services, their documentation and this project's simulation are known by.
DEFAULT_PASSWORDS = (
    *("admin", "administrator", "root", "user", "king"),
    *("password", "pass", "secret", "changeme", "changeit", "letmein", "default", "test"),
    *("auscat", "orthanc", "keydb", "postgres", "ctp", "dicom"),
)
#: Names of the options that hold what a person or a service of this node logs in with. Tokens and
#: logins of registries, proxies and directories are issued by others, who decide what they look
#: like.
PASSWORD_OPTION = re.compile(
    r"(?!images_|auscat_|.*_bind_password\Z).*_(passwords?|passphrase|encryption_key|users)\Z"
)

#: What an address family has in all, divided by this, is the whole world. A sixteenth is far more
#: than any hospital owns, and refuses halves that add up as well as a world with one hole in it.
WORLD = 16

#: How many addresses may reach the patient list, by family: a /16 of IPv4, one site of IPv6.
MOST_READERS = {4: 2**16, 6: 2**80}
#: Private ranges, of which a site has parts and others have the rest.
PRIVATE_RANGES = tuple(
    ipaddress.ip_network(each)
    for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
#: What is no other machine's own address.
NOBODY = {
    "0.0.0.0/8": "an address that no machine sends from",
    "169.254.0.0/16": "link-local: whatever is plugged into the same segment gives itself one",
    "224.0.0.0/4": "multicast, which nobody sends from",
    "240.0.0.0/4": "reserved, which nobody sends from",
    "::/128": "an address that no machine sends from",
    "fe80::/10": "link-local: whatever is plugged into the same segment gives itself one",
    "ff00::/8": "multicast, which nobody sends from",
}

DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}\Z")
#: Images of this project are named after the content of all that they are built from.
BUILT_IMAGE = re.compile(r"auscat-imaging/[a-z0-9_-]+:[0-9a-f]{12}\Z")
CHECKSUM = re.compile(r"(sha256:)?[0-9a-f]{64}\Z")

VAULT_HEADER = "$ANSIBLE_VAULT;"
VAULT_FILE = re.compile(r"vault([_-][\w-]*)?(\.(ya?ml|json))?\Z")


class Credential(NamedTuple):
    """One password of the node.

    variable is the inventory's name for it, user the key where the variable holds several, and
    here tells whether the host that is checked uses it.
    """

    variable: str
    user: str
    password: str
    here: bool = True

    @property
    def label(self) -> str:
        """How an operator finds it."""
        return f"{self.variable}[{self.user!r}]" if self.user else self.variable


def credentials_of(variable: str, value: Any, here: bool = True) -> list[Credential]:
    """Return the passwords in a variable: a text, a mapping of user names to texts, or a list of
    mappings with name and password.

    What is empty, or neither text nor number, is left out: the check of the argument
    specifications reports it.
    """
    if text := _text(value):
        return [Credential(variable, "", text, here)]
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = {
            each["name"]: each.get("password")
            for each in value
            if isinstance(each, Mapping) and isinstance(each.get("name"), str)
        }
    if isinstance(value, Mapping):
        return [
            Credential(variable, str(user), text, here)
            for user, password in value.items()
            if (text := _text(password))
        ]
    return []


def _text(value: Any) -> str:
    """Return a password as the services get it: digits without quotes are a number to YAML."""
    if isinstance(value, (int, float)):
        return str(value)
    return value if isinstance(value, str) and value.strip() else ""


def password_problems(credentials: Sequence[Credential]) -> list[str]:
    """Refuse default, short and repeated passwords.

    Args:
        credentials: of all users and services of the node. Only those that are ``here`` are
            reported, so that each problem appears on the machine that it belongs to.
    """
    problems = []
    remedy = (
        f"Accepted: at least {PASSWORD_LENGTH} characters that nothing else uses. "
        "playbooks/init_secrets.yml makes such values (docs/secrets.md)."
    )
    for credential in credentials:
        if not credential.here:
            continue
        password = credential.password
        if _is_default(password, credential.user):
            problems.append(f"{credential.label} is a default password. {remedy}")
        elif len(password) < PASSWORD_LENGTH:
            problems.append(
                f"{credential.label} is shorter than {PASSWORD_LENGTH} characters. {remedy}"
            )
        elif len(set(password)) < PASSWORD_VARIETY:
            problems.append(
                f"{credential.label} consists of fewer than {PASSWORD_VARIETY} different "
                f"characters. {remedy}"
            )
    holders: dict[str, list[Credential]] = {}
    for credential in credentials:
        known = holders.setdefault(credential.password, [])
        if credential.label not in [each.label for each in known]:
            known.append(credential)
    for sharing in holders.values():
        if len(sharing) > 1 and any(credential.here for credential in sharing):
            labels = ", ".join(sorted(credential.label for credential in sharing))
            problems.append(f"{labels} are one and the same password. {remedy}")
    return problems


def _is_default(password: str, user: str) -> bool:
    word = password.lower()
    if user and word == user.lower():
        return True
    # "admin", "admin123", and a default written often enough to be long.
    core = word.rstrip("0123456789!.")
    return any(
        core and core == default * (len(core) // len(default)) for default in DEFAULT_PASSWORDS
    )


def flavour_problems(flavour: Any, image: str, distribution: Any, rehearsal: bool) -> list[str]:
    """Refuse the CTP stand-in, unless the whole deployment is a declared rehearsal.

    Args:
        flavour: ctp_flavour.
        image: what the service ctp runs; the stand-in's own is known by its name.
        distribution: ctp_distribution.
        rehearsal: auscat_rehearsal.
    """
    if rehearsal:
        return []
    if flavour == "standin":
        what = "ctp_flavour is 'standin'"
    elif flavour == "rsna" and distribution == "standin":
        what = "ctp_distribution is 'standin'"
    elif "/ctp_standin" in image:
        what = f"The image of ctp is {image!r}"
    else:
        return []
    return [
        f"{what}. Accepted in production: a real CTP, since the stand-in is a small gateway for "
        "simulation and tests whose de-identification nobody has certified. Download CTP from "
        "RSNA, name it in ctp_distribution and set ctp_flavour: rsna, or use the AusCAT image "
        "with ctp_flavour: auscat (docs/ctp.md). To rehearse this inventory with synthetic data "
        "only, set auscat_rehearsal: true (docs/errors.md)."
    ]


def distribution_problems(
    flavour: Any, distribution: Any, checksum: Any, found: str, is_file: bool
) -> list[str]:
    """Refuse a distribution of CTP that no checksum names.

    Args:
        flavour: ctp_flavour.
        distribution: ctp_distribution.
        checksum: ctp_distribution_checksum.
        found: the checksum that it has now, or an empty text where it cannot be read.
        is_file: whether it is a single file.
    """
    if flavour != "rsna" or not distribution or distribution == "standin":
        return []
    if CHECKSUM.match(str(checksum or "").lower()):
        return []
    how = f"`sha256sum {distribution}`"
    if not is_file:
        filter_of = f"msg={{{{ '{distribution}' | auscat.imaging.ctp_checksum }}}}"
        how = f'`ansible -i INVENTORY localhost -m debug -a "{filter_of}"`'
    now = (
        f"It prints {found} now, which says what lies there and does not prove that it is genuine: "
        "compare it with what another site, or another download over another network, has, before "
        "you set it. "
        if found
        else ""
    )
    return [
        f"ctp_distribution_checksum is {str(checksum or '')!r}. Accepted in production: the "
        f"SHA-256 of {distribution}, 64 hexadecimal digits, which the command {how} prints in the "
        f"directory of site.yml. {now}What replaces identifiers must be what you tested, also "
        "after somebody changed the file on the controller (docs/ctp.md)."
    ]


def image_problems(images: Mapping[str, Any], source: str, checksum: Any) -> list[str]:
    """Refuse images whose content can change under their name.

    Args:
        images: service to the reference that it runs.
        source: images_source. Images built here are accepted: they are named after the content of
            their inputs, which the checkout and Debian's signed archive fix.
        checksum: images_archive_checksum, SHA-256 in hex; it fixes all images of an archive.
    """
    problems = []
    fixed_by_archive = source == "archive" and bool(CHECKSUM.match(str(checksum or "")))
    if source == "archive" and not fixed_by_archive:
        problems.append(
            f"images_archive_checksum is {str(checksum or '')!r}. Accepted in production: the "
            "SHA-256 of the bundle, 64 hexadecimal digits, from the .sha256 file beside it. It "
            "must have come separately from the bundle itself."
        )
    for service, image in sorted(images.items()):
        reference = str(image)
        if DIGEST.match(reference) or BUILT_IMAGE.match(reference) or source == "archive":
            continue
        problems.append(
            f"{service}_image is {reference!r}, a name without a digest. Accepted in production: "
            "name@sha256:<64 hexadecimal digits>, an image that this project builds, or an archive "
            "with a checksum, since a registry can give a tag another content at any time. "
            f"`docker buildx imagetools inspect {reference or 'IMAGE'}` prints the digest."
        )
    return problems


def missing_source_problems(ports: Iterable[Mapping[str, Any]]) -> list[str]:
    """Refuse published ports for which nobody says who may reach them.

    Args:
        ports: declarations as the inventory has them, with published, service, sources and
            optionally sources_variable and purpose.
    """
    return [
        f"{_sources_of(port)} is empty, so nobody is declared who may reach {_port(port)}. "
        "Accepted in production: networks, addresses, or hosts and groups of the inventory, such "
        "as [192.0.2.0/24]; [127.0.0.1] for this machine alone. Set it in the inventory."
        for port in ports
        if not port.get("sources")
    ]


def open_port_problems(ports: Iterable[Mapping[str, Any]]) -> list[str]:
    """Refuse published ports that are open to the whole world, or a sixteenth of it.

    Args:
        ports: as for `missing_source_problems`, with names resolved to addresses. Sources that
            cannot be read are left out: the check of the declarations reports them.
    """
    problems = []
    for port in ports:
        networks = _networks(port)
        world = _whole_world(networks)
        if world:
            shown = ", ".join(map(str, networks))
            problems.append(
                f"{_sources_of(port)} is [{shown}], which opens {_port(port)} to the whole world "
                f"({' and '.join(world)}). Accepted in production: the networks and addresses of "
                "those who need the port. Narrow it in the inventory."
            )
    return problems


def machine_source_problems(ports: Iterable[Mapping[str, Any]]) -> list[str]:
    """Refuse sources that are no other machine's own address: link-local, multicast, unspecified.

    Args:
        ports: as for `open_port_problems`.
    """
    problems = []
    for port in ports:
        networks = _networks(port)
        if _whole_world(networks):
            continue
        for network in networks:
            for special, why in NOBODY.items():
                if network.overlaps(ipaddress.ip_network(special)):
                    problems.append(
                        f"{_sources_of(port)} has {network}, which {_is_or_holds(network, special)}"
                        f" {special} ({why}). Accepted in production for {_port(port)}: networks "
                        "and addresses that other machines have for good. Correct it in the "
                        "inventory."
                    )
    return problems


def _is_or_holds(network: port_rules.Network, special: str) -> str:
    within = ipaddress.ip_network(special)
    holds = network.prefixlen < within.prefixlen
    return "holds" if holds else "lies in"


def patient_list_problems(ports: Iterable[Mapping[str, Any]]) -> list[str]:
    """Refuse KeyDB's port for more than a site's own network.

    Args:
        ports: as for `open_port_problems`, those of KeyDB alone.
    """
    problems = []
    for port in ports:
        networks = _networks(port)
        if _whole_world(networks):
            continue
        too_many = [
            f"{count} IPv{version} addresses"
            for version, most in MOST_READERS.items()
            if (count := _addresses(each for each in networks if each.version == version)) > most
        ]
        # More than half: a whole range with holes is as little anybody's own as the whole range.
        ranges = [
            str(whole)
            for whole in PRIVATE_RANGES
            if _addresses(_within(networks, whole)) * 2 > whole.num_addresses
        ]
        if not (too_many or ranges):
            continue
        what = " and ".join(too_many + [f"the private range {each}" for each in ranges])
        problems.append(
            f"{_sources_of(port)} is [{', '.join(map(str, networks))}], which opens {_port(port)} "
            f"to {what}: the whole of a network that others share. Accepted in production: those "
            "who maintain the patient list, at most 65536 IPv4 addresses (a network of /16) and an "
            "IPv6 network of /48 in all, and not most of a private range; best single machines. "
            "Narrow it in the inventory."
        )
    return problems


def _within(networks: Iterable[port_rules.Network], whole: Any) -> list[port_rules.Network]:
    """Return what of the networks lies in a range."""
    return [
        whole if network.prefixlen < whole.prefixlen else network
        for network in networks
        if network.version == whole.version and network.overlaps(whole)
    ]


def other_side_problems(
    ports: Iterable[Mapping[str, Any]], machines: Mapping[str, Iterable[str]]
) -> list[str]:
    """Refuse sources of an identifiable machine's ports that let a de-identified machine in.

    Args:
        ports: as for `open_port_problems`, those of a machine that has identifiable data.
        machines: the machines that have none, with the addresses that the inventory and DNS know.
    """
    problems = []
    for port in ports:
        names = port.get("source_names") or {}
        if _whole_world(_networks(port)):
            continue
        for machine, addresses in sorted(machines.items()):
            for text in addresses:
                address = ipaddress.ip_address(text)
                by = [each for each in _networks(port) if address in each]
                if not by:
                    continue
                spelled = names.get(str(by[0].network_address)) if by[0].num_addresses == 1 else ""
                shown = f"{spelled} ({by[0]})" if spelled else str(by[0])
                problems.append(
                    f"{_sources_of(port)} has {shown}, which lets {machine} ({address}) reach "
                    f"{_port(port)}: a machine of de-identified data would get at patients' names. "
                    f"Accepted in production: sources without the addresses of {machine}. Write "
                    "the networks and addresses of those who need the port, without it."
                )
                break
    return problems


def _networks(port: Mapping[str, Any]) -> list[port_rules.Network]:
    """Return a port's sources; those that cannot be read are reported elsewhere."""
    sources = port.get("sources")
    networks = []
    for source in sources if isinstance(sources, (list, tuple)) else []:
        try:
            networks.append(port_rules.parse_source(source))
        except ValueError:
            continue
    return networks


def _whole_world(networks: Iterable[port_rules.Network]) -> list[str]:
    """Return the families whose whole world, or a sixteenth of it, these networks are."""
    listed = list(networks)
    return [
        f"IPv{version}"
        for version, bits in ((4, 32), (6, 128))
        if _addresses(network for network in listed if network.version == version) * WORLD
        >= 2**bits
    ]


def _sources_of(port: Mapping[str, Any]) -> str:
    return str(port.get("sources_variable") or f"{port.get('service')}_service: sources")


def _port(port: Mapping[str, Any]) -> str:
    return f"port {port.get('published')} ({port.get('purpose') or port.get('service')})"


def _addresses(networks: Iterable[port_rules.Network]) -> int:
    """Return how many addresses the networks of one family have together."""
    merged: Iterable[Any] = ipaddress.collapse_addresses(list(networks))
    return sum(network.num_addresses for network in merged)


def restriction_problems(restricted: bool) -> list[str]:
    """Refuse ports whose declared sources are not enforced."""
    if restricted:
        return []
    return [
        "firewall_restrict_published_ports is false, so every published port is open to every "
        "machine. Accepted in production: true. Remove it from the inventory."
    ]


def tls_problems(mode: Any, dicom_in_clear: bool = False) -> list[str]:
    """Refuse passwords and studies in clear text between machines, in a rehearsal too.

    Args:
        mode: auscat_tls.
        dicom_in_clear: CTP sends to Orthanc on another machine without TLS.
    """
    if mode != "none":
        return [
            "orthanc_dicom_tls is false, and CTP is on another machine, so studies cross the "
            "network in clear text. Accepted in production: true. Remove it from the inventory."
        ] * dicom_in_clear
    return [
        "auscat_tls is none, so passwords, identifiers and studies cross the network in clear "
        "text. Accepted in production: own_ca, files. Remove it from the inventory "
        "(docs/certificates.md)."
    ]


def vault_problems(files: Mapping[str, str]) -> list[str]:
    """Refuse vault files in clear.

    Args:
        files: path to content of the inventory's files that `is_vault_file` names.
    """
    return [
        f"{path} is not encrypted. Accepted: a file made by ansible-vault. Run `ansible-vault "
        f"encrypt {path}`, and change its passwords if anybody else could read or fetch it."
        for path, text in sorted(files.items())
        if not text.startswith(VAULT_HEADER) and _has_clear_value(text)
    ]


def is_vault_file(path: str) -> bool:
    """Tell whether a path below group_vars or host_vars is meant to be encrypted.

    These are vault, vault.yml, vault_x.yml and all in a directory of such a name.
    """
    return any(VAULT_FILE.match(part) for part in path.split("/"))


def _has_clear_value(text: str) -> bool:
    """Tell whether a YAML text has a value that is neither empty, encrypted nor a template."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return True
    nodes = [root] if root else []
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.MappingNode):
            nodes += [item for _, item in node.value]
        elif isinstance(node, yaml.SequenceNode):
            nodes += node.value
        elif node.tag != "!vault" and node.value and "{{" not in node.value:
            return True
    return False


def machine_problems(host: str, addresses: Mapping[str, str]) -> list[str]:
    """Refuse one machine under two names of the inventory.

    A host that stands in both groups is a site with a single machine, which has asked for it. Two
    names for one machine look like the separation of two and are none.

    Args:
        host: the host that is checked.
        addresses: host of the inventory to the address that Ansible connects to.
    """
    others = sorted(
        other
        for other, address in addresses.items()
        if other != host and address and address == addresses.get(host)
    )
    if not others:
        return []
    return [
        f"ansible_host of {host} is {addresses[host]}, and so is that of {', '.join(others)}: one "
        "machine under several names, so that identifiable and de-identified data would share it. "
        "Accepted: an address of its own for each, or, for a site with a single machine, one host "
        "in both groups (inventories/single_vm)."
    ]


def swarm_problems(engine: Mapping[str, Any], accepted: bool) -> list[str]:
    """Refuse an engine whose Swarm has other nodes: keyvm and catvm share nothing unasked.

    Args:
        engine: swarm_state, swarm_manager and swarm_nodes (number, as a manager knows it), as the
            module preflight returns them.
        accepted: preflight_accept_shared_swarm.
    """
    if accepted or engine.get("swarm_state") in (None, "", "inactive"):
        return []
    if engine.get("swarm_state") in ("locked", "error"):
        # The role swarm and engine_setup say what to do, in a simulation as well.
        return []
    nodes = engine.get("swarm_nodes") or 0
    if engine.get("swarm_manager") and nodes <= 1:
        return []
    role = f"manages a Swarm of {nodes} nodes" if engine.get("swarm_manager") else "is a worker"
    return [
        f"The Docker engine {role}, so it shares secrets and networks with other machines. "
        "Accepted in production: a Swarm of its own on each machine, so that nothing crosses from "
        "the identifiable to the de-identified side. Run `docker swarm leave` on the machine that "
        "does not belong to it, or set preflight_accept_shared_swarm: true if one Swarm is wanted."
    ]


def system_disk_problems(root: str, on_system_disk: bool, accepted: bool) -> list[str]:
    """Refuse data on the system's own file system unless the inventory accepts it."""
    if accepted or not on_system_disk:
        return []
    return [
        f"auscat_data_root is {root}, which lies on the system disk: a full one stops the machine, "
        "and a new system takes the data with it. Accepted in production: a disk of its own "
        "(host_volume_device), a directory on another mount, or, explicitly, "
        "host_volume_allow_system_disk: true."
    ]


def moved_data_problems(
    held: Iterable[Mapping[str, str]], wished: Mapping[tuple[str, str], str]
) -> list[str]:
    """Refuse a changed data path while the old one still holds data.

    Args:
        held: bind mounts of the deployed stack whose directory is not empty: service, source (path
            on the host), target (path in the container).
        wished: (service, target) to the path on the host that the inventory asks for.
    """
    problems = []
    for mount in held:
        new = wished.get((mount["service"], mount["target"]))
        if new is None or posixpath.normpath(new) == posixpath.normpath(mount["source"]):
            continue
        problems.append(
            f"The inventory (auscat_data_root) puts the data of {mount['service']} at {new}, but "
            f"what is deployed keeps it at {mount['source']}, which is not empty: the service "
            "would start without its data. Accepted: the old path, or an old path that is empty. "
            "Set the old path again, or stop the stack (docker stack rm), move the data there "
            f"(mv {mount['source']} {new}), and run again."
        )
    return problems
