"""Pull images from a registry, and say in an operator's words why one could not be pulled."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError, run
from ansible_collections.auscat.imaging.plugins.module_utils.images.references import parse

PULL_SECONDS = 1800
LOGIN_SECONDS = 60

# What the engine says, in lower case, and what it means. The first that fits counts: a certificate
# that is not trusted also ends in "failed to do request", and an unknown name in "denied".
CAUSES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("certificate", ("x509:", "certificate signed by unknown", "server gave http response")),
    ("login", ("unauthorized", "no basic auth", "incorrect username", "authentication required",
               "access denied", "access to the resource is denied", "401", "403 forbidden")),
    ("missing", ("manifest unknown", "manifest for", "not found: manifest", "repository name not",
                 "name unknown", "invalid reference", "404")),
    ("busy", ("toomanyrequests", "too many requests", "429", " 500", " 502", " 503", " 504",
              "internal server error", "bad gateway", "service unavailable")),
    ("unreachable", ("dial tcp", "no such host", "i/o timeout", "timeout", "connection refused",
                     "network is unreachable", "no route to host", "proxyconnect", "deadline",
                     "connection reset", "eof", "temporary failure", "lookup ")),
    ("disk", ("no space left",)),
)  # fmt: skip
PASSES = frozenset({"busy", "unreachable"})


class RegistryError(RuntimeError):
    """An image could not be pulled; the text names image, cause and remedy."""


def cause(words: str) -> str:
    """Tell why a pull or a login failed: a key of `CAUSES`, or "other"."""
    said = words.lower()
    return next(
        (name for name, marks in CAUSES if any(mark in said for mark in marks)),
        "other",
    )


def explanation(what: str, registry: str, host: str, words: str) -> str:
    """Say what happened, what is accepted, and what to do next."""
    where = registry or "the public registry"
    # Without the command, whose path of a temporary configuration helps nobody.
    words = re.sub(r"\Adocker \S+ \S+ ended with code \d+: ", "", words.strip())
    last = words.splitlines()[-1] if words else "no reason given"
    remedies = {
        "unreachable": (
            f"{where} cannot be reached from {host}. Let the machine reach it (auscat_https_proxy, "
            "auscat_no_proxy, the hospital's firewall), or take one of the other two ways: "
            "images_source: archive brings the images in a file made elsewhere "
            "(docs/air-gapped.md), images_source: build makes them from Debian packages."
        ),
        "certificate": (
            f"{host} does not trust the certificate that {where} shows. Where a proxy of the site "
            "inspects TLS, or the registry has a certificate of the site's own CA, add that CA to "
            "auscat_ca_certificates."
        ),
        "login": (
            f"{where} refuses the login, or refuses this image without one. Set "
            "images_registry_login (url, username, and the password or token from the vault)."
        ),
        "missing": (
            f"{where} has no such image. Correct the name or the digest in <service>_image."
        ),
        "busy": f"{where} answered, but too busy. Run again later.",
        "disk": f"The disk of {host} is full. Free space below /var/lib/docker.",
        "other": "See docs/images.md.",
    }
    return f"{what} failed: {last}\n{remedies[cause(words)]}"


def is_here(image: str) -> bool:
    """Tell whether the engine has an image under exactly this name."""
    try:
        run(["docker", "image", "inspect", "--format", "{{.Id}}", image])
    except CommandError as error:
        if "no such image" in str(error).lower():
            return False
        raise
    return True


def pull(
    images: Sequence[str],
    login: Mapping[str, Any],
    host: str,
    retries: int,
    delay: float,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Pull images, logged in for just as long as that takes.

    Args:
        images: names of the images, pinned by digest or not.
        login: url (empty for the public registry), username, password; empty for none.
        host: name of this machine, for the messages.
        retries: further attempts after the first, where the cause may pass by itself.
        delay: seconds before the first retry; each further one waits twice as long.

    Raises:
        RegistryError: an image could not be pulled, or the login was refused.
    """
    # The client writes the password, merely encoded, into its configuration: into one of our own,
    # which is root's alone and lies in memory where there is such a place.
    with tempfile.TemporaryDirectory(prefix="auscat-registry-", dir=_memory()) as directory:
        client = ["docker", "--config", directory]
        if login:
            url = str(login.get("url") or "")
            command = [*client, "login", "--username", str(login["username"]), "--password-stdin"]
            command += [url] if url else []
            attempt(
                partial(run, command, stdin=str(login["password"]), timeout=LOGIN_SECONDS),
                (f"The login at {url or 'the public registry'}", url, host),
                (retries, delay, sleep),
            )
        for image in images:
            pulling = [*client, "pull", "--quiet", image]
            attempt(
                partial(run, pulling, timeout=PULL_SECONDS),
                (f"The pull of {image}", parse(image).registry, host),
                (retries, delay, sleep),
            )


def _memory() -> str | None:
    try:
        with tempfile.TemporaryDirectory(dir="/dev/shm"):
            return "/dev/shm"
    except OSError:
        return None


def attempt(
    action: Callable[[], str],
    subject: tuple[str, str, str],
    patience: tuple[int, float, Callable[[float], None]],
) -> None:
    """Do something with a registry, and again while the cause of its failing may pass by itself.

    Args:
        action: raises CommandError when it fails.
        subject: what is done, the registry's host, and the name of this machine, for the message.
        patience: retries, seconds before the first, and what waits.

    Raises:
        RegistryError: it failed for good.
    """
    retries, delay, sleep = patience
    for number in range(retries + 1):
        try:
            action()
            return
        except CommandError as error:
            words = str(error)
            if cause(words) not in PASSES or number == retries:
                tried = f" ({number + 1} attempts)" if number else ""
                raise RegistryError(explanation(*subject, words) + tried) from error
            sleep(delay * 2**number)
