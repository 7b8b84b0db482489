"""Versioned Swarm secrets: which version carries a value, and which must be made.

Swarm secrets cannot be changed or read back. So each version is a secret of its own, named
``<stack>_<name>_v<number>``, and carries a salted scrypt digest of its value as a label: enough to
see that a value changed, useless to find it. (community.docker's docker_secret labels an unsalted
SHA-224, which gives a short password away to whoever may list secrets.)
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

LABEL_STACK = "org.auscat.stack"
LABEL_NAME = "org.auscat.secret"
LABEL_VERSION = "org.auscat.version"
LABEL_DIGEST = "org.auscat.digest"


@dataclass(frozen=True)
class SecretVersion:
    """One Swarm secret of ours: its own name, the secret's plain name, version and digest."""

    swarm_name: str
    name: str
    version: int
    digest: str


def digest_of(content: str, salt: bytes | None = None) -> str:
    """Return ``scrypt$<salt>$<hash>`` (base64) of a value, with a new salt unless one is given."""
    salt = salt or secrets.token_bytes(16)
    value = hashlib.scrypt(content.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)
    return "$".join(["scrypt", base64.b64encode(salt).decode(), base64.b64encode(value).decode()])


def carries(digest: str, content: str) -> bool:
    """Tell whether a digest was made from this value."""
    parts = digest.split("$")
    if len(parts) != 3 or parts[0] != "scrypt":
        return False
    return hmac.compare_digest(digest, digest_of(content, base64.b64decode(parts[1])))


def versions_of(inspected: Iterable[dict[str, Any]], stack: str) -> list[SecretVersion]:
    """Return the versions of a stack's secrets from ``docker secret inspect``, oldest first."""
    found = []
    for secret in inspected:
        labels = secret["Spec"].get("Labels") or {}
        if labels.get(LABEL_STACK) == stack:
            found.append(
                SecretVersion(
                    secret["Spec"]["Name"],
                    labels[LABEL_NAME],
                    int(labels[LABEL_VERSION]),
                    labels[LABEL_DIGEST],
                )
            )
    return sorted(found, key=lambda version: (version.name, version.version))


def next_version(
    existing: Iterable[SecretVersion],
    stack: str,
    name: str,
    content: str,
    used: Collection[str] = (),
) -> tuple[SecretVersion, bool]:
    """Return the version that carries `content`, and whether it must be made.

    The newest comes first. Where it carries another value, an older one counts as long as a service
    uses it: what is newer then is of an attempt that went back or was interrupted. One that nothing
    uses any more is superseded, and going back to its value makes a new version.

    Args:
        existing: as `versions_of` returns them, oldest first.
        stack: name of the stack.
        name: the secret's plain name.
        content: its value.
        used: Swarm names of the secrets that services use.
    """
    mine = [version for version in existing if version.name == name]
    for version in reversed(mine):
        is_candidate = version is mine[-1] or version.swarm_name in used
        if is_candidate and carries(version.digest, content):
            return version, False
    number = mine[-1].version + 1 if mine else 1
    return SecretVersion(f"{stack}_{name}_v{number}", name, number, digest_of(content)), True
