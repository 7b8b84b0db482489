"""What loads the rules at boot, before the engine publishes a port."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ansible_collections.auscat.imaging.plugins.module_utils.firewall.port_rules import TABLE
from ansible_collections.auscat.imaging.plugins.module_utils.host.files import write

SERVICE = "auscat-firewall"
UNIT = Path(f"/etc/systemd/system/{SERVICE}.service")
NFTABLES_DROP_IN = Path(f"/etc/systemd/system/nftables.service.d/{SERVICE}.conf")
DOCKER_DROP_IN = Path(f"/etc/systemd/system/docker.service.d/{SERVICE}.conf")
INIT_SCRIPT = Path(f"/etc/init.d/{SERVICE}")


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
        write({self.path: (self.text, self.mode)})


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


def unit_links() -> list[Path]:
    """Return the links by which systemd starts the unit."""
    return [
        UNIT.parent / f"{wanting}.wants" / UNIT.name
        for wanting in ("multi-user.target", "docker.service")
    ]


def rc_links() -> list[Path]:
    """Return the links by which init starts the script."""
    return sorted(Path("/etc").glob(f"rc[0-9S].d/S[0-9][0-9]{SERVICE}"))
