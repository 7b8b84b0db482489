"""Prepared test hosts: made once, started often.

A prepared host is the bare one of its suite on which an administrator has installed the Debian
packages that the roles ask for, and whose engine has the node's images. Nothing of this collection
has run on it: no directory, no setting, no rule, no Swarm. So what a change of the product changes
on a machine cannot be hidden by a host that was prepared before the change.

A snapshot is an image of the outer engine, and a volume for each directory that such an image
cannot hold (``VOLUMES``), named alike after the hash of all that goes in. The image gets its name
when all else is there, so a name means a whole snapshot. One process makes it, others wait for it.

At most ``KEPT`` snapshots of a suite are kept. One that is older than ``AGE_SECONDS`` is made anew,
because Debian's packages get older on it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

REPOSITORY = "auscat-imaging-test/prepared"
LABEL = "auscat-imaging-test-snapshot"
# The state of a host beside its root file system. `docker commit` leaves volumes out.
VOLUMES = {"docker": "/var/lib/docker", "containerd": "/var/lib/containerd"}
ARCHIVES = "/var/cache/auscat-images"
KEPT = 2
AGE_SECONDS = 7 * 24 * 3600

# Arguments: the packages, "--", the image archives.
PREPARE = r"""
packages=()
while [ "$1" != -- ]; do packages+=("$1"); shift; done
shift
export DEBIAN_FRONTEND=noninteractive
apt-get --quiet update
apt-get --quiet --yes --no-install-recommends install "${packages[@]}"
for archive in "$@"; do docker load --quiet --input "$archive"; done
"""

# What tells one machine from another, and what the engine makes for the network it finds, is made
# anew by each host that starts.
FORGET = r"""
systemctl stop docker.socket docker.service containerd.service
rm -rf /etc/docker/key.json /var/lib/docker/engine-id /var/lib/docker/network
rm -rf /etc/ssh/ssh_host_* /var/lib/dbus/machine-id /var/lib/systemd/random-seed /var/log/journal/*
: > /etc/machine-id
"""

# Arguments: the directories to copy from and to. A layer of an image is never written to once it is
# there (a container writes into a layer of its own), so its files are hard links: 30,000 files and
# 600 MB less to write for each host. All else an engine writes to, and is copied.
COPY = r"""
cd "$1"
find . -mindepth 1 -maxdepth 1 ! -name overlay2 -exec cp --archive --target-directory="$2" {} +
[ -d overlay2 ] || exit 0
mkdir --mode=0710 "$2/overlay2"
find overlay2 -mindepth 1 -maxdepth 1 -type d \
  -exec cp --archive --link --target-directory="$2/overlay2" {} +
"""


class SnapshotError(Exception):
    """A snapshot could not be made or used; the message says which and why."""


@dataclass(frozen=True)
class Snapshot:
    """What a prepared host is made of.

    Attributes:
        suite: Debian release.
        base: name of the image of the bare host, which itself is named after its inputs.
        packages: Debian packages to install.
        archives: names of image archives, which are named after the content of their images.
        options: options of `docker run` with which it was prepared.
    """

    suite: str
    base: str
    packages: tuple[str, ...]
    archives: tuple[str, ...]
    options: tuple[str, ...]

    @property
    def key(self) -> str:
        """Give the hash of all that decides what is in it. Order and repetition decide nothing."""
        inputs = [
            self.base,
            sorted(set(self.packages)),
            sorted(set(self.archives)),
            self.options,
            PREPARE,
            FORGET,
            COPY,
            VOLUMES,
        ]
        return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:12]

    @property
    def image(self) -> str:
        """Name the image of its root file system."""
        return f"{REPOSITORY}:{self.suite}-{self.key}"

    @property
    def volumes(self) -> dict[str, str]:
        """Give the names of its volumes by the directory that each holds."""
        return {directory: volume_name(self.image, short) for short, directory in VOLUMES.items()}


def volume_name(image: str, short: str) -> str:
    """Name a volume of the snapshot with this image: the engine allows no slash and no colon."""
    return f"{image.replace('/', '-').replace(':', '-')}-{short}"


def docker(*arguments: str, check: bool = True) -> str:
    """Run the Docker client and return its trimmed output; raises SnapshotError."""
    result = subprocess.run(
        ["docker", *arguments], capture_output=True, encoding="utf-8", check=False
    )
    if check and result.returncode:
        said = (result.stderr or result.stdout).strip()[-2000:]
        raise SnapshotError(f"docker {' '.join(arguments)} gave {result.returncode}: {said}")
    return result.stdout.strip()


@contextlib.contextmanager
def locked(cache: Path, suite: str, exclusively: bool) -> Iterator[None]:
    """Hold the lock of a suite's snapshots: alone, who makes and removes; together, who starts."""
    directory = cache / "snapshots"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / f"{suite}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if exclusively else fcntl.LOCK_SH)
        yield


def age(snapshot: Snapshot) -> float | None:
    """Give the seconds since a snapshot was made, None where it is not there as a whole."""
    created = docker("image", "inspect", "--format={{.Created}}", snapshot.image, check=False)
    volumes = docker("volume", "ls", "--quiet", f"--filter=label={LABEL}").split()
    if not created or not set(snapshot.volumes.values()) <= set(volumes):
        return None
    # Nanoseconds, which Python 3.11 and later reads; earlier ones take six digits at most.
    made = datetime.fromisoformat(created[:19]).replace(tzinfo=timezone.utc)
    return (datetime.now(timezone.utc) - made).total_seconds()


def is_current(snapshot: Snapshot) -> bool:
    """Tell whether a snapshot is whole and young enough to start from."""
    seconds = age(snapshot)
    return seconds is not None and seconds < AGE_SECONDS


@contextlib.contextmanager
def started_from(snapshot: Snapshot, cache: Path) -> Iterator[None]:
    """Keep a snapshot from being removed while a host starts from it; raises SnapshotError."""
    with locked(cache, snapshot.suite, exclusively=False):
        if age(snapshot) is None:
            raise SnapshotError(
                f"{snapshot.image} was removed meanwhile. Run again: it is made anew."
            )
        yield


def ensure(snapshot: Snapshot, cache: Path, make: Callable[[str], None]) -> bool:
    """Make a snapshot unless it is there; tell whether it was made.

    Args:
        snapshot: the wanted one.
        cache: directory outside the tree, for the lock and the time of the last use.
        make: starts a bare host as a container of the given name, and waits until it runs.

    Raises:
        SnapshotError: it could not be made. Nothing of it is left.
    """
    with locked(cache, snapshot.suite, exclusively=False):
        if is_current(snapshot):
            used(snapshot, cache)
            return False
    with locked(cache, snapshot.suite, exclusively=True):
        # Whoever held the lock may have made it.
        if is_current(snapshot):
            used(snapshot, cache)
            return False
        container = f"auscat-imaging-test-prepares-{snapshot.suite}"
        # Left by a process that was killed.
        docker("rm", "--force", "--volumes", container, check=False)
        remove(snapshot.image)
        try:
            make(container)
            archives = [f"{ARCHIVES}/{name}" for name in sorted(set(snapshot.archives))]
            script = ("bash", "-euo", "pipefail", "-c")
            docker("exec", container, *script, PREPARE, "-", *snapshot.packages, "--", *archives)
            take(snapshot, container)
        except BaseException:
            remove(snapshot.image)
            raise
        finally:
            docker("rm", "--force", "--volumes", container, check=False)
        used(snapshot, cache)
        prune(snapshot, cache)
    return True


def take(snapshot: Snapshot, container: str) -> None:
    """Stop a host and make the snapshot of it. The name of its image comes last."""
    docker("exec", container, "bash", "-euo", "pipefail", "-c", FORGET)
    docker("stop", "--time=60", container)
    own = host_volumes(container)
    for directory, volume in snapshot.volumes.items():
        docker("volume", "create", f"--label={LABEL}={snapshot.image}", volume)
        copy(snapshot.base, own[directory], volume)
    # Without the options of the maker, which each host gets itself.
    image = docker("commit", f"--change=LABEL {LABEL}={snapshot.key}", container)
    docker("tag", image, snapshot.image)


def copy(image: str, source: str, target: str) -> None:
    """Copy what is in a volume to another one, as it is.

    Owners, links, devices and overlay's attributes too, hence CAP_SYS_ADMIN. All volumes are seen
    through one mount, as hard links do not go from one mount to another.
    """
    docker(
        "run",
        "--rm",
        "--network=none",
        "--cap-add=SYS_ADMIN",
        "--security-opt=apparmor=unconfined",
        f"--volume={docker('info', '--format={{.DockerRootDir}}')}/volumes:/volumes",
        image,
        "bash",
        "-euo",
        "pipefail",
        "-c",
        COPY,
        "-",
        f"/volumes/{source}/_data",
        f"/volumes/{target}/_data",
    )


def host_volumes(container: str) -> dict[str, str]:
    """Give the names of a container's volumes by the directory that each is mounted to."""
    listed = docker("inspect", "--format={{json .Mounts}}", container)
    return {
        mount["Destination"]: mount["Name"]
        for mount in json.loads(listed)
        if mount["Type"] == "volume"
    }


def fill(snapshot: Snapshot, container: str) -> None:
    """Give a host that was created, and not yet started, its own copy of the snapshot's volumes."""
    own = host_volumes(container)
    for directory, volume in snapshot.volumes.items():
        copy(snapshot.base, volume, own[directory])


def used(snapshot: Snapshot, cache: Path) -> None:
    """Note that a snapshot was wanted now."""
    (cache / "snapshots" / f"{snapshot.suite}-{snapshot.key}").touch()


def outdated(tags: Sequence[str], wanted: str, last_use: Callable[[str], float]) -> list[str]:
    """Choose which snapshots of a suite go: all but the wanted one and those used last."""
    others = sorted((tag for tag in tags if tag != wanted), key=last_use, reverse=True)
    return others[KEPT - 1 :]


def prune(snapshot: Snapshot, cache: Path) -> None:
    """Remove the snapshots of a suite that are too many. Needs the lock alone."""
    directory = cache / "snapshots"

    def last_use(tag: str) -> float:
        note = directory / tag
        return note.stat().st_mtime if note.exists() else 0.0

    listed = docker("images", "--format={{.Tag}}", REPOSITORY).split()
    tags = [tag for tag in listed if tag.startswith(f"{snapshot.suite}-")]
    for tag in outdated(tags, f"{snapshot.suite}-{snapshot.key}", last_use):
        remove(f"{REPOSITORY}:{tag}")
        (directory / tag).unlink(missing_ok=True)
    # One that had a host when its name went, and what a process that was killed had not yet named.
    docker("image", "prune", "--force", f"--filter=label={LABEL}")


def remove(image: str) -> None:
    """Remove a snapshot, its name first. What a host still uses of it goes with that host."""
    docker("rmi", "--force", image, check=False)
    for short in VOLUMES:
        docker("volume", "rm", "--force", volume_name(image, short), check=False)
