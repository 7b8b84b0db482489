"""auscat_notify: how the machines tell people of alerts, checked and made ready for the program.

Pure but for `read`, which is handed in.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.auscat.imaging.plugins.module_utils.host import site_network

VARIABLE = "auscat_notify"
PASSWORD, HEADERS = "auscat_notify_mail_password", "auscat_notify_webhook_headers"
WAYS = ("command", "mail", "webhook")
KEYS = ("repeat_hours", *WAYS)
MAIL_REQUIRED = ("host", "from", "to")
MAIL_DEFAULTS: dict[str, Any] = {"port": 0, "tls": "starttls", "ca_file": "", "user": ""}
PORTS = {"starttls": 25, "none": 25, "tls": 465}
WEBHOOK_REQUIRED = ("url",)
WEBHOOK_DEFAULTS: dict[str, Any] = {"ca_file": ""}
REPEAT_HOURS = 4
MOST_REPEAT_HOURS = 168
#: Directories that the sampler sees as empty ones, or its own (auscat-status.service).
UNSEEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")

HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|[0-9A-Fa-f:]+")
ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
#: Headers that the program or HTTP itself sets.
OWN_HEADERS = ("connection", "content-length", "content-type", "host", "transfer-encoding")

Read = Callable[[str], str]


class NotifyError(ValueError):
    """auscat_notify is wrong; the text has a line for each problem, and no secret."""


def problems(given: Any, password: Any, headers: Any, read: Read) -> list[str]:
    """Return everything that is wrong, with variable, value (never a secret), accepted, remedy.

    Args:
        given: auscat_notify.
        password: auscat_notify_mail_password.
        headers: auscat_notify_webhook_headers.
        read: returns the text of a file of the controller; raises OSError or ValueError.
    """
    if not isinstance(given, Mapping):
        return [_wrong(VARIABLE, type(given).__name__, "a mapping; {} for off", "of the type ")]
    if not given:
        return []
    found = _keys(VARIABLE, given, (), KEYS)
    if not set(given) & set(WAYS) and not found:
        found.append(
            f"{VARIABLE} names no way. Accepted: at least one of {', '.join(WAYS)}; {{}} for off. "
            "Add one, or remove the variable (docs/status.md)."
        )
    hours = given.get("repeat_hours", REPEAT_HOURS)
    if not _number(hours) or not 0 <= hours <= MOST_REPEAT_HOURS:
        accepted = f"hours, 0 (never) to {MOST_REPEAT_HOURS}"
        found.append(_wrong(f"{VARIABLE}.repeat_hours", hours, accepted))
    if "command" in given:
        found += _command_problems(given["command"])
    if "mail" in given:
        found += _mail_problems(given["mail"], password, read)
    if "webhook" in given:
        found += _webhook_problems(given["webhook"], headers, read)
    return found


def timer_problems(given: Any, timer: bool) -> list[str]:
    """Check that somebody looks where people are to be told.

    Args:
        given: auscat_notify.
        timer: status_timer.
    """
    if timer or not given:
        return []
    return [
        f"status_timer is False, and {VARIABLE} is set: nobody would be told, since the sampler "
        "tells. Accepted: true, or auscat_notify: {}. Correct one of them in the inventory "
        "(docs/status.md)."
    ]


def _command_problems(arguments: Any) -> list[str]:
    label = f"{VARIABLE}.command"
    if not _texts(arguments) or any("\0" in each or "\n" in each for each in arguments):
        accepted = (
            "a list of texts of one line: the program's path, then its arguments, numbers in quotes"
        )
        return [_wrong(label, type(arguments).__name__, accepted, "of the type ")]
    program = arguments[0]
    unseen = next((each for each in UNSEEN if (program + "/").startswith(each + "/")), "")
    if not posixpath.isabs(program) or posixpath.normpath(program) != program or unseen:
        accepted = "the absolute path of a program on the machine, such as /usr/local/sbin/page"
        if unseen:
            accepted += f", not below {unseen}, which the sampler's service does not see"
        return [_wrong(f"{label}, its program,", program, accepted)]
    return []


def _mail_problems(mail: Any, password: Any, read: Read) -> list[str]:
    label = f"{VARIABLE}.mail"
    if not isinstance(mail, Mapping):
        accepted = f"a mapping with {', '.join(MAIL_REQUIRED)}"
        return [_wrong(label, type(mail).__name__, accepted, "of the type ")]
    found = _keys(label, mail, MAIL_REQUIRED, (*MAIL_REQUIRED, *MAIL_DEFAULTS))
    mail = {**MAIL_DEFAULTS, **mail}
    if "host" in mail and not _matches(HOST, mail["host"]):
        accepted = "name or address of the relay, as its certificate has it, without a port"
        found.append(_wrong(f"{label}.host", mail["host"], accepted))
    if not _whole(mail["port"]) or not 0 <= int(mail["port"]) <= 65535:
        accepted = "1 to 65535; left out, 25, or 465 with tls: tls"
        found.append(_wrong(f"{label}.port", mail["port"], accepted))
    if not isinstance(mail["tls"], str) or mail["tls"] not in PORTS:
        found.append(_wrong(f"{label}.tls", mail["tls"], "starttls, tls or none"))
    if "from" in mail and not _matches(ADDRESS, mail["from"]):
        accepted = "an address alone, such as node@hospital.example"
        found.append(_wrong(f"{label}.from", mail["from"], accepted))
    if "to" in mail and not (
        _texts(mail["to"]) and all(_matches(ADDRESS, each) for each in mail["to"])
    ):
        accepted = "a list of addresses alone, such as [duty@hospital.example]"
        found.append(_wrong(f"{label}.to", mail["to"], accepted))
    if not isinstance(mail["user"], str):
        found.append(_wrong(f"{label}.user", mail["user"], "a text; left out, no login"))
    elif bool(mail["user"]) != bool(password):
        one, other = (f"{label}.user", PASSWORD) if mail["user"] else (PASSWORD, f"{label}.user")
        found.append(
            f"{one} is set and {other} is not. Accepted: both, or neither for a relay without a "
            f'login. Set {PASSWORD} to "{{{{ vault_{PASSWORD} }}}}", and the value with '
            "ansible-vault edit (docs/secrets.md)."
        )
    elif mail["user"] and mail["tls"] == "none":
        found.append(
            f"{label}.tls is 'none', with a login. Accepted: starttls or tls, since the password "
            "would cross the network in the clear. Set it, or leave out user."
        )
    return found + _ca_problems(label, mail["ca_file"], read)


def _webhook_problems(webhook: Any, headers: Any, read: Read) -> list[str]:
    label = f"{VARIABLE}.webhook"
    if not isinstance(webhook, Mapping):
        return [_wrong(label, type(webhook).__name__, "a mapping with url", "of the type ")]
    found = _keys(label, webhook, WEBHOOK_REQUIRED, (*WEBHOOK_REQUIRED, *WEBHOOK_DEFAULTS))
    webhook = {**WEBHOOK_DEFAULTS, **webhook}
    if "url" in webhook and (fault := _url_fault(webhook["url"])):
        # Of many receivers the path is the secret.
        found.append(
            f"{label}.url {fault}. Accepted: https://HOST/PATH, with HOST as the receiver's "
            f"certificate has it and nothing secret before it; a token belongs in {HEADERS}. "
            "Correct it (docs/status.md)."
        )
    if not isinstance(headers, Mapping):
        accepted = "a mapping of names to texts; {} for none"
        found.append(_wrong(HEADERS, type(headers).__name__, accepted, "of the type "))
        headers = {}
    for name, value in headers.items():
        if not _matches(TOKEN, name) or name.lower() in OWN_HEADERS:
            accepted = f"names of headers, other than {', '.join(OWN_HEADERS)}"
            found.append(_wrong(f"{HEADERS}, a name in it,", name, accepted))
        elif not isinstance(value, str) or not value.isascii():
            found.append(
                f"{HEADERS}[{name!r}] is no text of ASCII. Accepted: such a text, numbers in "
                "quotes. Correct it in the vault (docs/secrets.md)."
            )
    return found + _ca_problems(label, webhook["ca_file"], read)


def _url_fault(url: Any) -> str:
    """Say what is wrong with a webhook's URL, without it, or return an empty text."""
    if not isinstance(url, str) or not url.isascii() or re.search(r"[\s\x00-\x1f\x7f]", url):
        return "is no URL, or has white space or other than ASCII in it"
    try:
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:
            return "holds a login"
        if parts.scheme != "https":
            return f"begins with {(parts.scheme + ':') if parts.scheme else 'no scheme'}"[:40]
        if not parts.hostname or parts.port == 0 or parts.fragment:
            return "has no host, the port 0, or a fragment (#)"
    except ValueError:
        return "is no URL"
    return ""


def _ca_problems(label: str, path: Any, read: Read) -> list[str]:
    accepted = "a file of PEM certificates on this controller; left out, the CAs of the machine"
    if not isinstance(path, str):
        return [_wrong(f"{label}.ca_file", path, accepted)]
    try:
        _authorities(f"{label}.ca_file", path, read)
    except NotifyError as error:
        return [str(error)]
    return []


def _authorities(label: str, path: str, read: Read) -> str:
    """Return the certificates of a file; an empty text where there is none.

    Raises:
        NotifyError: it cannot be read, or holds none.
    """
    if not path:
        return ""
    try:
        return "\n".join(site_network.certificates([read(path)], label)) + "\n"
    except site_network.SiteNetworkError as error:
        raise NotifyError(str(error)) from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise NotifyError(
            f"{label} is {path!r}, which cannot be read ({why}). Accepted: a file of PEM "
            "certificates on this controller; left out, the CAs of the machine, with those of "
            "auscat_ca_certificates. Correct it."
        ) from error


def render(
    given: Any, password: Any, headers: Any, proxy: str, no_proxy: Sequence[str], read: Read
) -> str:
    """Return the file for the program, which is secret; empty where nobody is told.

    Args:
        given: auscat_notify.
        password: auscat_notify_mail_password.
        headers: auscat_notify_webhook_headers.
        proxy: the site's for https, or an empty text.
        no_proxy: who is reached without it.
        read: as for `problems`.

    Raises:
        NotifyError: there are problems; the text holds all of them.
    """
    if found := problems(given, password, headers, read):
        raise NotifyError("\n".join(found))
    if not given:
        return ""
    made: dict[str, Any] = {}
    if "command" in given:
        made["command"] = {"arguments": list(given["command"])}
    if "mail" in given:
        mail = {**MAIL_DEFAULTS, **given["mail"]}
        made["mail"] = {
            **{key: mail[key] for key in ("host", "tls", "user", "from")},
            "port": int(mail["port"]) or PORTS[mail["tls"]],
            "to": list(mail["to"]),
            "password": password or "",
            "ca": _authorities(f"{VARIABLE}.mail.ca_file", mail["ca_file"], read),
        }
    if "webhook" in given:
        webhook = {**WEBHOOK_DEFAULTS, **given["webhook"]}
        made["webhook"] = {
            "url": webhook["url"],
            "headers": dict(headers),
            "ca": _authorities(f"{VARIABLE}.webhook.ca_file", webhook["ca_file"], read),
            "proxy": proxy,
            "no_proxy": list(no_proxy),
        }
    hours = given.get("repeat_hours", REPEAT_HOURS)
    return json.dumps({"repeat_hours": hours, "ways": made}, indent=4, sort_keys=True) + "\n"


def _keys(
    label: str, given: Mapping[str, Any], required: Sequence[str], known: Sequence[str]
) -> list[str]:
    found = [
        f"{label} lacks {key}. Accepted: a mapping with {', '.join(required)}. Add it in the "
        "inventory (docs/status.md)."
        for key in required
        if key not in given
    ]
    return found + [
        f"{label} has {key!r}. Accepted: {', '.join(known)}. Correct the name in the inventory."
        for key in given
        if key not in known
    ]


def _wrong(label: str, value: Any, accepted: str, of: str = "") -> str:
    shown = f"{of}{value}" if of else repr(value)
    return f"{label} is {shown}. Accepted: {accepted}. Correct it in the inventory."


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and bool(pattern.fullmatch(value))


def _texts(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(each, str) and each for each in value)
    )


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,5}", str(value))) and not isinstance(value, bool)
