"""What a machine is told of its site's network: proxy, extra CA certificates.

Everything is a file with a fixed name, so the wished state is a mapping of paths to contents.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

APT = "/etc/apt/apt.conf.d/80auscat-proxy"
ENGINE_UNIT = "/etc/systemd/system/docker.service.d/60-auscat.conf"
#: The engine's proxy where systemd must not show it, or does not start the engine.
ENGINE_PROXY = "/etc/docker/auscat-proxy.env"
CERTIFICATES = "/usr/local/share/ca-certificates/auscat"
#: An engine that ends while Swarm still starts tasks can leave an overlay's vxlan device behind, in
#: the machine's own namespace where none belongs. The next one then fails each task with "error
#: creating vxlan interface: file exists" for ever (moby/libnetwork#1765; measured with 26.1).
REMOVE_STALE_DEVICES = "ls /sys/class/net | grep ^vx- | xargs -r -n 1 ip link delete"
ENGINE_PID = Path("/run/docker.pid")
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\s.*?-----END CERTIFICATE-----", re.DOTALL)
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
PROXY = re.compile(r"https?://[^\s'\"\\]+\Z")


class SiteNetworkError(ValueError):
    """A setting cannot be applied; the text names the variable and what is accepted."""


def certificates(texts: Iterable[str], variable: str = "auscat_ca_certificates") -> list[str]:
    """Return the single certificates in PEM texts, each once, in a fixed order.

    Raises:
        SiteNetworkError: a text holds no certificate, or a private key.
    """
    found: set[str] = set()
    for text in texts:
        if PRIVATE_KEY.search(text):
            raise SiteNetworkError(
                f"{variable} holds a private key, which must not leave the CA. Accepted: the "
                "certificates alone, in PEM. Nothing was copied."
            )
        listed = CERTIFICATE.findall(text)
        if not listed:
            raise SiteNetworkError(
                f"{variable} holds a text without a certificate. Accepted: PEM, from -----BEGIN "
                "CERTIFICATE-----. A DER file becomes PEM with: openssl x509 -inform der -in FILE."
            )
        found.update(re.sub(r"[ \t\r]+\n", "\n", each.replace("\r\n", "\n")) for each in listed)
    return sorted(found)


def no_proxy(names: Iterable[Any]) -> list[str]:
    """Return who is reached without the proxy: each name once, in order, without empty ones.

    A name may be a comma-separated list, as the environment variable has it.

    Args:
        names: hosts, domains and networks, or lists of them.
    """
    listed = [part for name in names for part in (name if isinstance(name, list) else [name])]
    single = [part.strip() for name in listed if name for part in str(name).split(",")]
    return list(dict.fromkeys(part for part in single if part))


def proxy_variables(http: str, https: str, without: Iterable[str]) -> dict[str, str]:
    """Return the environment variables that programs read, in both spellings.

    Raises:
        SiteNetworkError: a proxy is no URL.
    """
    for variable, value in (("auscat_http_proxy", http), ("auscat_https_proxy", https)):
        if value and not PROXY.match(value):
            raise SiteNetworkError(
                f"{variable} is {shown(value)!r}. Accepted: http://HOST:PORT, or an empty text for "
                "none. Correct it in the inventory."
            )
    if not (http or https):
        return {}
    values = {"http_proxy": http, "https_proxy": https, "no_proxy": ",".join(without)}
    return {
        spelled: value
        for name, value in values.items()
        if value
        for spelled in (name, name.upper())
    }


def shown(proxy: str) -> str:
    """Return a proxy's URL without its user and password."""
    # Without a scheme too, which is how somebody may write it by mistake.
    return re.sub(r"\A((?:[A-Za-z0-9+.-]*:)?//)?.*@", r"\1***@", proxy, flags=re.DOTALL)


def files(
    http: str,
    https: str,
    without: Iterable[str],
    pem: Iterable[str],
    engine: Mapping[str, str],
    systemd: bool,
) -> dict[str, tuple[str, int]]:
    """Return the files of a machine: path to content and mode.

    Args:
        http: URL of the proxy for HTTP, or an empty text.
        https: URL of the proxy for HTTPS, or an empty text.
        without: names, addresses and networks that are reached directly.
        pem: single certificates, as `certificates` returns them.
        engine: further environment of the Docker engine.
        systemd: whether systemd starts the engine.

    Raises:
        SiteNetworkError: as `proxy_variables`.
    """
    without = list(without)
    variables = proxy_variables(http, https, without)
    # Who may read the file of a proxy's password is root alone, and `systemctl show` tells
    # everybody what stands in a unit.
    secret = "@" in http + https
    wished: dict[str, tuple[str, int]] = {}
    if variables:
        wished[APT] = (_apt(http, https, without), 0o600 if secret else 0o644)
    if variables and (secret or not systemd):
        # As systemd and a shell read it; a proxy's URL has no quotes.
        lines = [f"{name}='{value.replace(chr(39), '')}'\n" for name, value in variables.items()]
        wished[ENGINE_PROXY] = ("".join(lines), 0o600)
    if systemd and (engine or variables):
        wished[ENGINE_UNIT] = (
            _unit(engine, ENGINE_PROXY) if secret else _unit({**engine, **variables}),
            0o644,
        )
    for certificate in pem:
        digest = hashlib.sha256(certificate.encode()).hexdigest()[:12]
        wished[f"{CERTIFICATES}/{digest}.crt"] = (certificate + "\n", 0o644)
    return wished


def _apt(http: str, https: str, without: Iterable[str]) -> str:
    lines = ["// Written by Ansible (auscat_http_proxy, auscat_https_proxy, auscat_no_proxy)."]
    for scheme, proxy in (("http", http), ("https", https)):
        if proxy:
            lines.append(f'Acquire::{scheme}::Proxy "{proxy}";')
            # apt knows neither networks nor domains here, only hosts.
            lines += [
                f'Acquire::{scheme}::Proxy::{name} "DIRECT";' for name in without if _host(name)
            ]
    # The engine is told the whole list; here it makes each change of it a change of the file.
    lines.append(f"// Without a proxy: {' '.join(without)}")
    return "\n".join(lines) + "\n"


def _host(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).version == 4
    except ValueError:
        return bool(re.match(r"[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?\Z", name))


def _unit(variables: Mapping[str, str], file: str = "") -> str:
    lines = ["# Written by Ansible: how the engine reaches the outside.", "[Service]"]
    for name, value in variables.items():
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
        lines.append(f'Environment="{name}={escaped}"')
    if file:
        lines.append(f"EnvironmentFile={file}")
    lines.append(f'ExecStartPre=-/bin/sh -c "{REMOVE_STALE_DEVICES}"')
    return "\n".join(lines) + "\n"


def digest(wished: Mapping[str, tuple[str, int]], like: str = "") -> str:
    """Return ``<salt>$<scrypt>`` over files: path to content and mode.

    Salted, since a proxy's password may stand in them.

    Args:
        wished: the files.
        like: a digest to compare with, whose salt is taken; empty for a new salt.
    """
    salt = like.partition("$")[0] or secrets.token_hex(16)
    text = "".join(f"{path}\0{wished[path][0]}\0{wished[path][1]:o}\0" for path in sorted(wished))
    value = hashlib.scrypt(text.encode(), salt=salt.encode(), n=2**14, r=8, p=1, dklen=32)
    return f"{salt}${value.hex()}"


def present_files() -> dict[str, tuple[str, int]]:
    """Return those of these files that this machine has: path to content and mode."""
    paths = [
        Path(APT),
        Path(ENGINE_UNIT),
        Path(ENGINE_PROXY),
        *sorted(Path(CERTIFICATES).glob("*.crt")),
    ]
    return {
        str(path): (path.read_text(), path.stat().st_mode & 0o777)
        for path in paths
        if path.is_file()
    }


def restart_due() -> bool:
    """Tell whether an engine runs that was started before these files changed."""
    if not ENGINE_PID.exists():
        return False
    # A file that is gone shows in its directory.
    paths = [Path(APT), Path(ENGINE_UNIT), Path(ENGINE_PROXY)]
    paths += [Path(CERTIFICATES), *Path(CERTIFICATES).glob("*.crt")]
    newest = max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)
    return newest > ENGINE_PID.stat().st_mtime


def state() -> dict[str, Any]:
    """Return what later tasks compare with what is wished: digest and restart_due."""
    return {"digest": digest(present_files()), "restart_due": restart_due()}
