"""Brings the rules for published ports onto a host, and keeps them there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.auscat.imaging.plugins.module_utils.firewall import at_boot, outgoing
from ansible_collections.auscat.imaging.plugins.module_utils.firewall.host_firewalls import (
    Zone,
    firewalld_rules,
    firewalld_zones,
    ufw_command,
    ufw_rules,
    ufw_wished,
    zones_to_open,
)
from ansible_collections.auscat.imaging.plugins.module_utils.firewall.port_rules import (
    SWARM_BRIDGE,
    TABLE,
    PortRule,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.facts import listeners

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

TIED_UNITS = ("nftables.service", "docker.service")

UFW_CONFIGURATION = Path("/etc/ufw/ufw.conf")
UFW_DEFAULTS = Path("/etc/default/ufw")

#: There from the first start of a Swarm on.
SWARM_DEVICE = Path("/sys/class/net", SWARM_BRIDGE)

SBIN = ["/usr/sbin", "/sbin"]


class Guard:
    """Brings one host to the wished state, and keeps a record of what that took."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.check_mode: bool = module.check_mode
        self.changes: list[str] = []
        self.diff: list[dict[str, str]] = []
        self.rules_file = Path(module.params["path"])
        # What was added to firewalld, whose rules carry no comment.
        self.record = self.rules_file.with_name("firewalld.json")
        self.systemd = Path("/run/systemd/system").is_dir()

    # The rules

    def retired(self, rules: list[PortRule]) -> list[PortRule]:
        """Return rules that close the ports that were limited, are not listed, but still served.

        The firewall changes before the stack does. Without its rule the port of a service that is
        about to go would be open to everybody, and for good when the run fails in between.
        """
        nft = self.module.get_bin_path("nft", opt_dirs=SBIN)
        known = self.live_listing(nft) if nft else ""
        known += self.read(self.rules_file) or ""
        listed = {(rule.protocol, rule.published) for rule in rules}
        before = {
            (protocol, int(port))
            for protocol, port in re.findall(r"chain (tcp|udp)_(\d+) {", known)
        }
        if before <= listed:
            return []
        served = listeners()
        return [
            PortRule(port, protocol, (), (), "no longer declared, closed until nothing serves it")
            for protocol, port in sorted(before - listed)
            if (port, protocol) in served
        ]

    def lets_all_out(self) -> bool:
        """Tell whether containers may run here that no rule has kept from connecting to others."""
        nft = self.module.get_bin_path("nft", opt_dirs=SBIN)
        known = self.live_listing(nft) if nft else ""
        known += self.read(self.rules_file) or ""
        return f"chain {outgoing.CHAIN} {{" not in known and (bool(known) or SWARM_DEVICE.exists())

    def present(self, text: str) -> None:
        """Make the host load, and have loaded, the rules in ``text``."""
        file = at_boot.File(self.rules_file, text, mode=0o600, directory_mode=0o700)
        nft = self.module.get_bin_path("nft", opt_dirs=SBIN)
        if nft is None:
            message = (
                "The program nft is missing on this host. Install the package nftables "
                "(variable firewall_packages)."
            )
            if not self.check_mode:
                self.fail(message)
            # A check of a host that has nothing yet: an earlier task would install it.
            self.module.warn(message)
            self.write(file)
            self.act(f"Load the table {TABLE}", [])
            return

        wished = self.listing_of(nft, text)
        live = self.live_listing(nft)
        if live != wished:
            self.run([nft, "--check", "--file", "-"], data=text)
        written = self.write(file)
        if live != wished:
            self.act(f"Load the table {TABLE}", [nft, "--file", str(self.rules_file)])
            if not written:  # The difference of the file already shows what changes.
                self.show(f"nft list table {TABLE}", live, wished)
        if self.module.params["boot"]:
            self.boot(nft)

    def listing_of(self, nft: str, text: str) -> str:
        """Return how ``nft`` lists the rules of ``text`` once they are loaded.

        They are loaded into an empty network namespace that vanishes with the command. That
        validates them in the kernel without touching the host, and gives the one text that a
        live listing can be compared with, whatever the version of nft makes of the input.
        """
        unshare = self.module.get_bin_path("unshare")
        if unshare is None:
            self.fail("The program unshare is missing on this host. Install util-linux.")
        script = f"{nft} --file - && exec {nft} --stateless list table {TABLE}"
        return self.run([unshare, "--net", "sh", "-c", script], data=text)

    def live_listing(self, nft: str) -> str:
        """Return the table as it is loaded now, without counters; empty when there is none."""
        command = [nft, "--stateless", "list", "table", *TABLE.split()]
        code, out, err = self.module.run_command(command)
        if code == 0:
            return str(out)
        if "No such file or directory" not in err:
            self.fail(f"{' '.join(command)} failed with exit code {code}: {err.strip()}.")
        return ""

    # Boot

    def boot(self, nft: str) -> None:
        """Install what loads the rules at boot, for the service manager that is there."""
        if self.systemd:
            changed = [self.write(file) for file in at_boot.unit_files(nft, self.rules_file)]
            self.systemd_enable(reload=any(changed))
            return
        update_rc = self.module.get_bin_path("update-rc.d", opt_dirs=SBIN)
        if at_boot.INIT_SCRIPT.parent.is_dir() and update_rc is not None:
            self.write(at_boot.init_script(nft, self.rules_file))
            if not at_boot.rc_links():
                self.act(
                    f"Enable the init script {at_boot.INIT_SCRIPT}",
                    [update_rc, at_boot.SERVICE, "defaults"],
                )

    def systemd_enable(self, reload: bool) -> None:
        """Have systemd know the units, start ours at boot and count it as started."""
        properties = "--property=Id,UnitFileState,ActiveState,NeedDaemonReload"
        shown = self.run(["systemctl", "show", properties, at_boot.UNIT.name, *TIED_UNITS])
        state: dict[str, str] = {}
        for block in shown.split("\n\n"):
            unit = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            # A run that was interrupted may have left files that systemd has not read.
            reload = reload or unit.get("NeedDaemonReload") == "yes"
            if unit.get("Id") == at_boot.UNIT.name:
                state = unit
        if reload:
            self.act("Have systemd read its units again", ["systemctl", "daemon-reload"])
        if not all(link.is_symlink() for link in at_boot.unit_links()):
            # reenable also puts back one link of several.
            self.act(
                f"Enable {at_boot.UNIT.name}",
                ["systemctl", "reenable", "--quiet", at_boot.UNIT.name],
            )
        if state.get("ActiveState") != "active":
            self.act(f"Start {at_boot.UNIT.name}", ["systemctl", "start", at_boot.UNIT.name])

    # The host's own firewalls

    def open_in_host_firewalls(self, rules: list[PortRule]) -> None:
        """Have ufw and firewalld let in, where they are active, what the rules let in."""
        self.ufw(rules)
        self.firewalld(rules)

    def ufw(self, rules: list[PortRule]) -> None:
        """Make ufw's rules that carry our comment match the ports."""
        ufw = self.module.get_bin_path("ufw", opt_dirs=SBIN)
        configuration = self.read(UFW_CONFIGURATION) if ufw else None
        if ufw is None or configuration is None:
            return
        active = bool(re.search(r"^ENABLED=yes", configuration, re.MULTILINE | re.IGNORECASE))
        # Without rules of ours there is nothing to do in an inactive ufw, and asking it is slow.
        if not active and not self.ufw_marked():
            return
        ipv6 = bool(re.search(r"^IPV6=yes", self.read(UFW_DEFAULTS) or "", re.M | re.I))
        added = ufw_rules(self.run([ufw, "show", "added"]))
        wished = ufw_wished(rules, ipv6)
        for rule in sorted(added.ours - wished):
            self.act(
                f"Remove from ufw: {' '.join(ufw_command(rule)[:-2])}",
                [ufw, "--force", "delete", *ufw_command(rule)[:-2]],
            )
        if active:
            for rule in sorted(wished - added.ours - added.others):
                self.act(
                    f"Add to ufw: {' '.join(ufw_command(rule)[:-2])}", [ufw, *ufw_command(rule)]
                )

    def ufw_marked(self) -> bool:
        """Tell whether ufw's files hold rules with our comment, which they hold as hexadecimal."""
        mark = at_boot.SERVICE.encode().hex()
        files = (UFW_CONFIGURATION.with_name(name) for name in ("user.rules", "user6.rules"))
        return any(f"comment={mark}" in (self.read(file) or "") for file in files)

    def firewalld(self, rules: list[PortRule]) -> None:
        """Make firewalld's rich rules match the ports, at run time and for good, without a reload.

        A reload would take Docker's rules for the services of a Swarm away (Docker 20.10).
        """
        client = self.module.get_bin_path("firewall-cmd")
        if client is None:
            return
        recorded = self.recorded()
        active = self.firewalld_is_active()
        if not active and not recorded:
            return
        wished: dict[str, set[str]] = {}
        if active:
            runtime = firewalld_zones(self.run([client, "--list-all-zones"]))
            permanent = firewalld_zones(self.run([client, "--permanent", "--list-all-zones"]))
            default = self.run([client, "--get-default-zone"]).strip()
            wished = {zone: firewalld_rules(rules) for zone in zones_to_open(runtime, default)}
            places = [([client], runtime), ([client, "--permanent"], permanent)]
        else:
            client = self.module.get_bin_path("firewall-offline-cmd", required=True)
            stale = firewalld_rules(rules)
            wished = {zone: entries & stale for zone, entries in recorded.items()}
            places = [([client], firewalld_zones(self.run([client, "--list-all-zones"])))]
        ours = {}
        for zone, entries in wished.items():
            # What stood there before us, at run time or for good, is the administrator's.
            foreign = {rule for _, zones in places for rule in rules_of(zones, zone)}
            mine = entries - (foreign - recorded.get(zone, set()))
            if mine:
                ours[zone] = mine
        # Recorded before it is added: a run that breaks off leaves nothing that nobody knows.
        self.firewalld_record(merged(recorded, ours))
        for command, zones in places:
            self.firewalld_change(command, zones, ours, recorded)
        self.firewalld_record(ours)

    def firewalld_record(self, rules: dict[str, set[str]]) -> None:
        """Keep what was added to firewalld, by zone."""
        if rules:
            text = json.dumps({zone: sorted(rules[zone]) for zone in sorted(rules)}, indent=2)
            self.write(at_boot.File(self.record, f"{text}\n", mode=0o600, directory_mode=0o700))
        else:
            self.remove(self.record)

    def firewalld_change(
        self,
        command: list[str],
        zones: dict[str, Zone],
        ours: dict[str, set[str]],
        recorded: dict[str, set[str]],
    ) -> None:
        """Make the zones have our rich rules, and no longer those that are only recorded."""
        for zone in sorted({*ours, *recorded} & zones.keys()):
            there = rules_of(zones, zone)
            where = f"firewalld's zone {zone}{', permanently' if command[1:] else ''}"
            stale = (recorded.get(zone, set()) - ours.get(zone, set())) & there
            missing = ours.get(zone, set()) - there
            for verb, option, rules in (("Remove", "remove", stale), ("Add", "add", missing)):
                if rules:
                    self.act(
                        f"{verb} {len(rules)} rules {'from' if verb == 'Remove' else 'in'} {where}",
                        [*command, f"--zone={zone}"]
                        + [f"--{option}-rich-rule={rule}" for rule in sorted(rules)],
                    )
            if stale or missing:
                before = there & merged(recorded, ours)[zone]
                after = ours.get(zone, set())
                self.show(
                    where,
                    *("".join(f"{rule}\n" for rule in sorted(each)) for each in (before, after)),
                )

    def firewalld_is_active(self) -> bool:
        """Tell whether firewalld runs."""
        if self.systemd:
            command = ["systemctl", "is-active", "--quiet", "firewalld.service"]
        else:
            command = ["firewall-cmd", "--quiet", "--state"]
        code, _, _ = self.module.run_command(command)
        return bool(code == 0)

    def recorded(self) -> dict[str, set[str]]:
        """Return the rich rules that earlier runs added, by zone."""
        text = self.read(self.record)
        try:
            record = json.loads(text or "{}")
            return {str(zone): set(map(str, rules)) for zone, rules in record.items()}
        except (ValueError, AttributeError, TypeError):
            self.fail(
                f"{self.record} is damaged: it should hold the rules that were added to "
                "firewalld. Remove the file and those rules, and run again."
            )
            raise

    # Removal

    def absent(self) -> None:
        """Remove the rules, the file and everything that loads it."""
        self.open_in_host_firewalls([])
        if self.systemd and at_boot.UNIT.exists():
            self.act(
                f"Disable and stop {at_boot.UNIT.name}",
                ["systemctl", "disable", "--now", "--quiet", at_boot.UNIT.name],
            )
        removed = [
            self.remove(path)
            for path in (at_boot.UNIT, at_boot.NFTABLES_DROP_IN, at_boot.DOCKER_DROP_IN)
        ]
        if self.systemd and any(removed):
            self.act("Have systemd read its units again", ["systemctl", "daemon-reload"])
        self.remove(at_boot.INIT_SCRIPT)
        update_rc = self.module.get_bin_path("update-rc.d", opt_dirs=SBIN)
        if at_boot.rc_links() and update_rc is not None:
            self.act(
                f"Disable the init script {at_boot.INIT_SCRIPT}",
                [update_rc, at_boot.SERVICE, "remove"],
            )
        nft = self.module.get_bin_path("nft", opt_dirs=SBIN)
        live = self.live_listing(nft) if nft else ""
        if live:
            self.act(f"Delete the table {TABLE}", [str(nft), "delete", "table", *TABLE.split()])
            self.show(f"nft list table {TABLE}", live, "")
        self.remove(self.rules_file)

    # Files

    def read(self, path: Path) -> str | None:
        """Return what a file holds, None when there is none."""
        try:
            return path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            self.fail(f"{path} cannot be read: {error.strerror}. Move it away and run again.")
            raise

    def write(self, file: at_boot.File) -> bool:
        """Make a file be as described; return whether that takes a change."""
        before = self.read(file.path)
        if before == file.text:
            status = file.path.stat()
            if (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (file.mode, 0, 0):
                return False
        if not self.check_mode:
            try:
                file.replace()
            except OSError as error:
                self.fail(f"{file.path} cannot be written: {error.strerror}.")
        self.changes.append(f"Write {file.path}")
        self.show(str(file.path), before or "", file.text)
        return True

    def remove(self, path: Path) -> bool:
        """Remove a file; return whether there was one."""
        before = self.read(path)
        if before is None:
            return False
        if not self.check_mode:
            path.unlink()
        self.changes.append(f"Remove {path}")
        self.show(str(path), before, "")
        return True

    # Doing and telling

    def act(self, what: str, command: list[str]) -> None:
        """Run a command that changes the host, except in check mode, and record the change."""
        if not self.check_mode:
            self.run(command)
        self.changes.append(what)

    def run(self, command: list[str], data: str | None = None) -> str:
        """Return what a command prints; a command that fails fails the module."""
        code, out, err = self.module.run_command(command, data=data)
        if code != 0:
            printed = (err or out).strip()
            self.fail(f"{' '.join(command)} failed with exit code {code}: {printed}.")
        return str(out)

    def show(self, header: str, before: str, after: str) -> None:
        """Keep a difference for --diff."""
        if before != after:
            self.diff.append(
                {
                    "before_header": header,
                    "after_header": header,
                    "before": before,
                    "after": after,
                }
            )

    def fail(self, message: str) -> None:
        """Stop, and say truthfully how much has been done."""
        done = [] if self.check_mode else self.changes
        already = f"Done before that: {'; '.join(done)}." if done else "Nothing was changed."
        self.module.fail_json(msg=f"{message} {already}", changes=done, changed=bool(done))


def rules_of(zones: dict[str, Zone], zone: str) -> set[str]:
    """Return the rich rules of a zone, none for one that does not exist."""
    return set(zones[zone].rich_rules) if zone in zones else set()


def merged(one: dict[str, set[str]], other: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return two records as one."""
    return {zone: one.get(zone, set()) | other.get(zone, set()) for zone in {*one, *other}}
