"""Remove directories with care, and say in a table what a teardown removes and leaves."""

from __future__ import annotations

import os
import posixpath
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from ansible_collections.auscat.imaging.plugins.module_utils.host.tables import table

#: Never removed, whatever a variable says: other programs' files lie there.
SHARED = frozenset(
    {
        *("/", "//", "/bin", "/boot", "/data", "/dev", "/etc", "/home", "/lib", "/media"),
        *(
            "/mnt",
            "/opt",
            "/proc",
            "/root",
            "/run",
            "/sbin",
            "/srv",
            "/sys",
            "/tmp",
            "/usr",
            "/var",
        ),
        *("/etc/docker", "/etc/systemd", "/etc/systemd/system", "/usr/lib", "/usr/local"),
        *(
            "/usr/local/bin",
            "/usr/local/etc",
            "/usr/local/lib",
            "/usr/local/sbin",
            "/usr/local/share",
        ),
        *("/usr/share", "/var/cache", "/var/lib", "/var/lib/docker", "/var/log", "/var/tmp"),
    }
)


class RemovalError(ValueError):
    """A path must not be removed; the text says why and what to do."""


def removable(path: str) -> Path:
    """Return a path that may be removed.

    Raises:
        RemovalError: it is relative, or other programs' files lie there.
    """
    normal = posixpath.normpath(path)
    if not posixpath.isabs(path) or ".." in path.split("/") or normal in SHARED:
        raise RemovalError(
            f"{path} is to be removed, and other programs' files lie there. Accepted: a directory "
            "that the node has for itself, such as /etc/auscat. Correct auscat_config_root or "
            "ctp_install_root in the inventory. Nothing was removed from it."
        )
    return Path(normal)


def remove_tree(path: Path, keep: Collection[Path], check: bool) -> tuple[list[str], list[str]]:
    """Remove a file or directory; return what was (or would be) removed, and what stays.

    Args:
        path: absolute; a symbolic link is removed itself, and never followed.
        keep: files that stay, with the directories above them.
        check: remove nothing.

    Raises:
        OSError: something cannot be removed.
    """
    if not os.path.lexists(path):
        return [], []
    if path in keep:
        return [], [str(path)]
    if path.is_symlink() or not path.is_dir():
        if not check:
            path.unlink()
        return [str(path)], []
    kept_below = any(path in each.parents and os.path.lexists(each) for each in keep)
    if not kept_below and not _has_mounts(path):
        if not check:
            shutil.rmtree(path)
        return [str(path)], []
    removed: list[str] = []
    kept: list[str] = []
    for child in sorted(path.iterdir()):
        gone, left = remove_tree(child, keep, check)
        removed += gone
        kept += left
    if path.is_mount():
        kept.append(f"{path} (mount point)")
    elif not kept:
        if not check:
            path.rmdir()
        removed.append(str(path))
    return removed, kept


def _has_mounts(path: Path) -> bool:
    """Tell whether a directory is a mount point or has one below it."""
    with Path("/proc/self/mountinfo").open(encoding="utf-8") as mounts:
        # Octal escapes stand for white space and backslashes (proc_pid_mountinfo(5)).
        points = [
            Path(line.split()[4].encode().decode("unicode_escape").encode("latin-1").decode())
            for line in mounts
        ]
    return any(point == path or path in point.parents for point in points)


def teardown_report(
    host: str, removed: Mapping[str, Iterable[str]], stays: Iterable[str], done: bool
) -> str:
    """Return the table of a teardown.

    Args:
        host: its name in the inventory.
        removed: what is removed, in words, by what it belongs to.
        stays: sentences on what stays.
        done: whether it has been removed.
    """
    rows = [(area, item) for area, items in removed.items() for item in items]
    verb = "Removed from" if done else "To be removed from"
    lines = [f"{verb} {host}: {len(rows) or 'nothing'}", ""]
    if rows:
        lines += [*table(["part", "what"], rows), ""]
    return "\n".join([*lines, f"What stays on {host}", "", *stays])
