"""A directory of the controller that keeps a CA and the certificates that it signs.

For a simulation, which has no vault, and for sites that want files. What is missing or due is made
when it is asked for. Several playbooks may ask at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible_collections.auscat.imaging.plugins.module_utils.host import files
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import certificates

AUTHORITY = "ca.json"
MACHINES = "machines"
#: The CA's certificate alone, for browsers and other clients.
TRUSTED = "ca.crt"


def default_directory(
    directory: Any, sources: Sequence[Any], environment: Mapping[str, str]
) -> Path:
    """Return the directory of an inventory, below that of the user for such things.

    Args:
        directory: of the inventory that has the machine (inventory_dir), whichever others stand
            beside it; none for one that is no file.
        sources: of all of the inventory (ansible_inventory_sources), which count then.
        environment: of the process: XDG_STATE_HOME (XDG Base Directory Specification) and HOME.
    """
    paths = [str(Path(str(each)).resolve()) for each in ([directory] if directory else sources)]
    digest = hashlib.sha256("\n".join(paths).encode()).hexdigest()[:16]
    state = environment.get("XDG_STATE_HOME", "")
    base = Path(state) if state.startswith("/") else Path("~/.local/state").expanduser()
    return base / "auscat-imaging" / "certificates" / digest


def stored(
    directory: Path, host: str, names: Sequence[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the CA and the certificate of a machine; what is missing or due is made.

    Raises:
        OSError, CertificateError: it cannot be made or kept.
    """
    with _locked(directory):
        authority = _authority(directory)
        file = _file(directory, host)
        pair = _read(file)
        if certificates.is_due(pair, authority, names):
            pair = certificates.issue(authority, names)
            _write(file, json.dumps(pair))
        return authority, pair


def renew(
    directory: Path, machines: Mapping[str, Sequence[str]], authority: dict[str, str] | None
) -> None:
    """Make new certificates of machines; `authority`, where it is given, becomes the CA before.

    Raises:
        OSError, CertificateError: they cannot be made or kept.
    """
    with _locked(directory):
        if authority is not None:
            _keep(directory, authority)
        signer = authority or _authority(directory)
        made = {host: certificates.issue(signer, names) for host, names in machines.items()}
        for host, pair in made.items():
            _write(_file(directory, host), json.dumps(pair))


def authority_of(directory: Path) -> dict[str, str]:
    """Return the CA of a directory; it is made where there is none. Raises as `stored`."""
    with _locked(directory):
        return _authority(directory)


def _authority(directory: Path) -> dict[str, str]:
    found = _read(directory / AUTHORITY)
    if found.get("key") and found.get("certificate"):
        return found
    if any((directory / MACHINES).glob("*.json")):
        raise certificates.CertificateError(
            f"{directory / AUTHORITY} is gone or damaged, and certificates that it signed are "
            "there. Put it back; or remove the directory, so that all are made anew, and have its "
            "new CA trusted (docs/certificates.md)."
        )
    made = certificates.make_authority()
    _keep(directory, made)
    return made


def _keep(directory: Path, authority: dict[str, str]) -> None:
    _write(directory / AUTHORITY, json.dumps(authority))
    _write(directory / TRUSTED, certificates.trusted(authority))


def _file(directory: Path, host: str) -> Path:
    return directory / MACHINES / f"{quote(host, safe='')}.json"


def _read(file: Path) -> dict[str, str]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(file: Path, text: str) -> None:
    """Replace a file, for its owner alone, whole or not at all."""
    files.write({file: (text, 0o600)})


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    (directory / MACHINES).mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
