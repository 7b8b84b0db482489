#!/usr/bin/python
# Copyright (c) 2026, The AusCAT imaging node project
"""Ansible module: limit the published ports of this host to their declared sources."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: port_guard
short_description: Limit published ports to their declared sources
description:
  - Makes the nftables table C(inet auscat) of this host match the whole list of published
    ports. Ports that Docker publishes are included; rules of Docker, ufw, firewalld or the
    administrator are never touched.
  - The host itself always reaches its own ports. Every other machine, and every container,
    reaches a listed port only from one of its sources. Ports that are not listed are left
    alone.
  - The file, the rules that are loaded, and what loads them at boot are compared with what
    they should be, so that a run after C(nft flush ruleset) heals the host and says so.
  - Wherever Docker runs under systemd, it is started only after the rules are loaded.
requirements:
  - nft (package nftables) and unshare (package util-linux) on the host
author:
  - The AusCAT imaging node project
options:
  ports:
    description:
      - All published ports of this host, of all services. An empty list guards no port.
      - Each entry is a mapping. C(published) is the port on the host, 1 to 65535; C(protocol)
        is C(tcp) (default) or C(udp); C(sources) is the list of IPv4 and IPv6 addresses and
        networks that may reach the port, and an empty list lets only the host itself in.
      - C(service), C(name) and C(purpose) appear in messages and where the rules are listed.
        C(variable) and C(sources_variable) are the names of the inventory variables behind the
        published port and the sources, for messages. Other keys are ignored.
    type: list
    elements: raw
    default: []
  path:
    description: The file that holds the rules. Its directory is created when missing.
    type: path
    default: /etc/auscat/firewall.nft
  boot:
    description:
      - Whether to install what loads the rules at boot and before Docker starts. This is a unit
        where systemd runs, an init script where C(/etc/init.d) and C(update-rc.d) exist, and
        nothing elsewhere.
    type: bool
    default: true
  state:
    description: V(absent) removes the rules, the file and what loads it at boot.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    support: full
    description: Says what would change, and changes nothing.
  diff_mode:
    support: full
    description: Shows files and the loaded rules, before and after.
"""

EXAMPLES = r"""
- name: Limit the published ports to their sources
  auscat.imaging.port_guard:
    ports:
      - service: orthanc
        name: web
        published: 8042
        protocol: tcp
        sources: [10.20.0.0/16, "2001:db8:7::/48"]
        purpose: Web interface and REST API

- name: Remove the limits
  auscat.imaging.port_guard:
    state: absent
"""

RETURN = r"""
changes:
  description: What was done, or would be done in check mode, in words.
  returned: always
  type: list
  elements: str
  sample: ["Load the table inet auscat"]
ports:
  description: The ports that are guarded, and the networks that may reach each.
  returned: when O(state=present)
  type: list
  elements: dict
  sample: [{"published": 8042, "protocol": "tcp", "sources": ["10.20.0.0/16"]}]
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.port_rules import (
    TABLE_FAMILY,
    TABLE_NAME,
    PortRuleError,
    normalise,
    render,
)

SERVICE = "auscat-firewall"
UNIT = Path(f"/etc/systemd/system/{SERVICE}.service")
NFTABLES_DROP_IN = Path(f"/etc/systemd/system/nftables.service.d/{SERVICE}.conf")
DOCKER_DROP_IN = Path(f"/etc/systemd/system/docker.service.d/{SERVICE}.conf")
INIT_SCRIPT = Path(f"/etc/init.d/{SERVICE}")

TIED_UNITS = ("nftables.service", "docker.service")

TABLE = f"{TABLE_FAMILY} {TABLE_NAME}"
SBIN = ["/usr/sbin", "/sbin"]


class File(NamedTuple):
    """A file as it should be, owned by root; the directory's mode is for a new one."""

    path: Path
    text: str
    mode: int = 0o644
    directory_mode: int = 0o755

    def replace(self) -> None:
        """Put the file in place in one step: a crash leaves the old one or the new one.

        Raises:
            OSError: the directory or the file cannot be written.
        """
        self.path.parent.mkdir(mode=self.directory_mode, parents=True, exist_ok=True)
        # No suffix that systemd or init would read, should a crash leave it behind.
        temporary = self.path.parent / f".{self.path.name}.new"
        with temporary.open("w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), self.mode)
            os.fchown(stream.fileno(), 0, 0)
            stream.write(self.text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self.path)


def unit_files(nft: str, rules: Path) -> list[File]:
    """Return the unit that loads the rules at boot, and what ties other units to it."""
    load = f"{nft} -f {rules}"
    unit = f"""\
# Managed by Ansible (role firewall): changes made here are replaced.
[Unit]
Description=Limit published ports to their declared sources (AusCAT)
DefaultDependencies=no
Wants=network-pre.target
# nftables.service empties the ruleset when it starts, so it goes first.
After=local-fs.target nftables.service
Before=network-pre.target docker.service shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={load}
ExecReload={load}
# No ExecStop: stopping this unit must never open a port.

[Install]
WantedBy=multi-user.target docker.service
"""
    nftables = f"""\
# Managed by Ansible (role firewall): changes made here are replaced.
# nftables.service empties the whole ruleset when it starts, reloads or stops (on Debian 12,
# starting firewalld stops it). Docker's proxy would then serve the ports to everybody.
[Service]
ExecStartPost={load}
ExecReload={load}
ExecStopPost={load}
"""
    docker = f"""\
# Managed by Ansible (role firewall): changes made here are replaced.
# Docker publishes ports as soon as it starts. Without the rules it must not start.
[Service]
ExecStartPre={load}
"""
    return [
        File(UNIT, unit),
        File(NFTABLES_DROP_IN, nftables),
        File(DOCKER_DROP_IN, docker),
    ]


def init_script(nft: str, rules: Path) -> File:
    """Return the init script for a host whose PID 1 is not systemd."""
    text = f"""\
#!/bin/sh
# Managed by Ansible (role firewall): changes made here are replaced.
### BEGIN INIT INFO
# Provides:          {SERVICE}
# Required-Start:    $local_fs
# Required-Stop:
# Should-Start:      nftables
# X-Start-Before:    $network docker
# Default-Start:     S
# Default-Stop:
# Short-Description: Limit published ports to their declared sources (AusCAT)
### END INIT INFO
case "$1" in
    start|restart|reload|force-reload)
        exec {nft} -f {rules}
        ;;
    stop)
        # Stopping must never open a port.
        exit 0
        ;;
    status)
        exec {nft} list table {TABLE}
        ;;
    *)
        echo "Usage: $0 start|stop|restart|reload|force-reload|status" >&2
        exit 2
        ;;
esac
"""
    return File(INIT_SCRIPT, text, mode=0o755)


class Guard:
    """Brings one host to the wished state, and keeps a record of what that took."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.check_mode: bool = module.check_mode
        self.changes: list[str] = []
        self.diff: list[dict[str, str]] = []
        self.rules_file = Path(module.params["path"])
        self.systemd = Path("/run/systemd/system").is_dir()

    # The rules

    def present(self, text: str) -> None:
        """Make the host load, and have loaded, the rules in ``text``."""
        file = File(self.rules_file, text, mode=0o600, directory_mode=0o700)
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
            changed = [self.write(file) for file in unit_files(nft, self.rules_file)]
            self.systemd_enable(reload=any(changed))
            return
        update_rc = self.module.get_bin_path("update-rc.d", opt_dirs=SBIN)
        if INIT_SCRIPT.parent.is_dir() and update_rc is not None:
            self.write(init_script(nft, self.rules_file))
            if not rc_links():
                self.act(f"Enable the init script {INIT_SCRIPT}", [update_rc, SERVICE, "defaults"])

    def systemd_enable(self, reload: bool) -> None:
        """Have systemd know the units, start ours at boot and count it as started."""
        properties = "--property=Id,UnitFileState,ActiveState,NeedDaemonReload"
        shown = self.run(["systemctl", "show", properties, UNIT.name, *TIED_UNITS])
        state: dict[str, str] = {}
        for block in shown.split("\n\n"):
            unit = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            # A run that was interrupted may have left files that systemd has not read.
            reload = reload or unit.get("NeedDaemonReload") == "yes"
            if unit.get("Id") == UNIT.name:
                state = unit
        if reload:
            self.act("Have systemd read its units again", ["systemctl", "daemon-reload"])
        if not all(link.is_symlink() for link in unit_links()):
            # reenable also puts back one link of several.
            self.act(f"Enable {UNIT.name}", ["systemctl", "reenable", "--quiet", UNIT.name])
        if state.get("ActiveState") != "active":
            self.act(f"Start {UNIT.name}", ["systemctl", "start", UNIT.name])

    # Removal

    def absent(self) -> None:
        """Remove the rules, the file and everything that loads it."""
        if self.systemd and UNIT.exists():
            self.act(
                f"Disable and stop {UNIT.name}",
                ["systemctl", "disable", "--now", "--quiet", UNIT.name],
            )
        removed = [self.remove(path) for path in (UNIT, NFTABLES_DROP_IN, DOCKER_DROP_IN)]
        if self.systemd and any(removed):
            self.act("Have systemd read its units again", ["systemctl", "daemon-reload"])
        self.remove(INIT_SCRIPT)
        update_rc = self.module.get_bin_path("update-rc.d", opt_dirs=SBIN)
        if rc_links() and update_rc is not None:
            self.act(f"Disable the init script {INIT_SCRIPT}", [update_rc, SERVICE, "remove"])
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

    def write(self, file: File) -> bool:
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


def unit_links() -> list[Path]:
    """Return the links by which systemd starts the unit."""
    return [
        UNIT.parent / f"{wanting}.wants" / UNIT.name
        for wanting in ("multi-user.target", "docker.service")
    ]


def rc_links() -> list[Path]:
    """Return the links by which init starts the script."""
    return sorted(Path("/etc").glob(f"rc[0-9S].d/S[0-9][0-9]{SERVICE}"))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            # The entries are checked by port_rules, whose errors name the inventory's variable.
            "ports": {"type": "list", "elements": "raw", "default": []},
            "path": {"type": "path", "default": "/etc/auscat/firewall.nft"},
            "boot": {"type": "bool", "default": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    guard = Guard(module)
    result: dict[str, Any] = {}
    if module.params["state"] == "absent":
        guard.absent()
    else:
        try:
            rules = normalise(module.params["ports"])
        except PortRuleError as error:
            guard.fail(str(error))
        result["ports"] = [
            {"published": rule.published, "protocol": rule.protocol, "sources": rule.sources}
            for rule in rules
        ]
        guard.present(render(rules))
    module.exit_json(changed=bool(guard.changes), changes=guard.changes, diff=guard.diff, **result)


if __name__ == "__main__":
    main()
