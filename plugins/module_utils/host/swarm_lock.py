"""The lock of this machine's Swarm: with autolock on, an engine that starts needs the unlock key.

Swarm chooses the key itself and tells it to whoever asks the engine while it is unlocked. From the
moment on at which it locks with a key until that key is in the inventory's vault, the machine keeps
it too, sealed: combined (XOR) with as many random bytes, which are in the vault already. Neither of
the two says anything without the other.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.auscat.imaging.plugins.module_utils.host import files
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError, run

#: What the engine says of a key that is another one, or none at all.
NOT_THE_KEY = ("invalid key provided", "invalid key string")
#: Below the engine's directory: the key of its certificate, encrypted where the Swarm locks.
NODE_KEY = "swarm/certificates/swarm-node.key"
ENCRYPTED = "BEGIN ENCRYPTED"
SEALED_FILE = "swarm-unlock-key.sealed"
#: An unlock key has 52 characters.
SEAL_BYTES = 128
PATIENCE = 60.0


@dataclass(frozen=True)
class Swarm:
    """What the engine tells of its Swarm.

    Attributes:
        state: inactive, pending, active, locked or error.
        manager: whether it manages the Swarm now.
        autolock: whether it would be locked after a start. Known to managers only.
        root: the engine's directory.
    """

    state: str
    manager: bool
    autolock: bool
    root: Path


def look() -> Swarm:
    """Ask the engine. Raises CommandError where none answers."""
    found = json.loads(run(["docker", "info", "--format", "{{json .}}"], timeout=60))
    swarm = found.get("Swarm") or {}
    specification = (swarm.get("Cluster") or {}).get("Spec") or {}
    return Swarm(
        swarm.get("LocalNodeState") or "inactive",
        bool(swarm.get("ControlAvailable")),
        bool((specification.get("EncryptionConfig") or {}).get("AutoLockManagers")),
        Path(found.get("DockerRootDir") or "/var/lib/docker"),
    )


def unlock(keys: Sequence[str]) -> bool:
    """Unlock the Swarm with the first of the keys that fits, and wait until it is managed again.

    Returns:
        Whether one did.

    Raises:
        CommandError: the engine refuses for another reason, or the Swarm does not come up.
    """
    for key in keys:
        try:
            run(["docker", "swarm", "unlock"], stdin=f"{key}\n")
        except CommandError as error:
            if not any(words in str(error) for words in NOT_THE_KEY):
                raise
            continue
        _wait("the unlocked Swarm manages itself", lambda: look().manager and _nodes())
        return True
    return False


def _nodes() -> bool:
    try:
        return bool(run(["docker", "node", "ls", "--quiet"]))
    except CommandError:
        return False


def key() -> str:
    """Return the unlock key of a Swarm that is unlocked and has autolock on."""
    return run(["docker", "swarm", "unlock-key", "--quiet"]).strip()


def lock(rotate: bool, seal: str, directory: Path) -> str:
    """Have Swarm choose a key, and lock with it when the engine is next started.

    Args:
        rotate: autolock is on, with another key.
        seal: `SEAL_BYTES` random bytes as hexadecimal digits, used once.
        directory: where the sealed key is kept.

    Returns:
        The key.

    Raises:
        CommandError: the engine refuses, or has not begun to use the key.
        OSError: the sealed key cannot be written. Autolock is as it was.
    """
    root = look().root
    before = _body(root)
    directory.mkdir(parents=True, exist_ok=True)
    # A disk that is full says so now, and not when there is a key to be kept.
    _keep(directory, "00" * SEAL_BYTES)
    if rotate:
        run(["docker", "swarm", "unlock-key", "--rotate", "--quiet"])
    else:
        run(["docker", "swarm", "update", "--autolock=true"])
    chosen = key()
    try:
        _keep(directory, sealed(chosen, seal))
    except OSError:
        if not rotate:
            run(["docker", "swarm", "update", "--autolock=false"])
        raise
    _wait(
        "the engine has encrypted its key with the new one",
        lambda: ENCRYPTED in _node_key(root) and _body(root) != before,
    )
    return chosen


def stay_unlocked() -> None:
    """Turn autolock off, and wait until the engine needs no key any more.

    Raises:
        CommandError: the engine refuses, or has not begun to do without.
    """
    root = look().root
    run(["docker", "swarm", "update", "--autolock=false"])
    _wait("the engine has its key unencrypted", lambda: ENCRYPTED not in _node_key(root))


def _node_key(root: Path) -> str:
    return (root / NODE_KEY).read_text(encoding="utf-8")


def _body(root: Path) -> str:
    """Return the key itself, without what stands in the file before it."""
    return re.sub(r"(?s)\A.*\n\n", "", _node_key(root))


def sealed(text: str, seal: str) -> str:
    """Return a text combined with a seal, or what was combined so, as hexadecimal digits."""
    plain = text.encode().ljust(SEAL_BYTES, b"\0")
    pad = bytes.fromhex(seal)
    if len(plain) != SEAL_BYTES or len(pad) != SEAL_BYTES:
        raise CommandError(f"The unlock key or its seal is longer than {SEAL_BYTES} bytes.")
    return bytes(one ^ other for one, other in zip(plain, pad)).hex()


def unsealed(digits: str, seal: str) -> str:
    """Return what was sealed; an empty text where the seal is not the one, or nothing was."""
    pad, kept = bytes.fromhex(seal), bytes.fromhex(digits)
    plain = bytes(one ^ other for one, other in zip(kept, pad)).rstrip(b"\0")
    found = re.fullmatch(rb"SWMKEY-\d+-[A-Za-z0-9+/=]+", plain)
    return plain.decode() if found else ""


def kept(directory: Path, seal: str) -> str:
    """Return the key that the machine keeps, or an empty text."""
    try:
        return unsealed((directory / SEALED_FILE).read_text(encoding="utf-8"), seal) if seal else ""
    except (OSError, ValueError):
        return ""


def _keep(directory: Path, digits: str) -> None:
    files.write({directory / SEALED_FILE: (digits, 0o600)})
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def forget(directory: Path) -> None:
    """Remove the sealed key: the vault has it."""
    (directory / SEALED_FILE).unlink(missing_ok=True)


def _wait(what: str, condition: Callable[[], bool]) -> None:
    """Poll until the condition holds. Raises CommandError after `PATIENCE` seconds."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if condition():
                return
        except OSError:
            pass  # a file that is being replaced
        if time.monotonic() > deadline:
            raise CommandError(
                f"Waited {PATIENCE:.0f} s until {what}. journalctl -u docker says why."
            )
        time.sleep(0.2)
