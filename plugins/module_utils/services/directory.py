"""Logins of people whom a directory knows: what the web server in front of Orthanc is told.

Everything here is pure. LDAP is asked by Apache's mod_authnz_ldap, an OpenID Connect provider by
mod_auth_openidc (images/front/directory.conf). Both end at one role for each person, as which the
front logs in to Orthanc with an account that nobody else can use.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

#: What a person may do (images/orthanc/src/orthanc_guard/roles.py), the highest first.
ROLES = ("admin", "curator", "reader")
#: Accounts of the front begin with it; Orthanc's own users must not.
PREFIX = "directory-"

LDAP_DEFAULTS: dict[str, Any] = {
    "tls": "ldaps",
    "ca_file": "",
    "bind_dn": "",
    "user_attribute": "uid",
    "user_filter": "(objectClass=*)",
    "member_attribute": "member",
    "member_is_dn": True,
    "nested": 0,
    "wrong_logins": 4,
}
LDAP_REQUIRED = ("servers", "base", "groups")
LDAP_TLS = {"ldaps": ("ldaps", "SSL"), "starttls": ("ldap", "STARTTLS"), "none": ("ldap", "NONE")}
OIDC_DEFAULTS: dict[str, Any] = {
    "ca_file": "",
    "scopes": ["openid", "profile"],
    "user_claim": "preferred_username",
    "groups_claim": "groups",
    "session_hours": 8,
}
OIDC_REQUIRED = ("issuer", "client_id", "page_url", "groups")

SERVER = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")
ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
CLAIM = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
#: What would end a value of the web server's configuration, or stand for something else in it.
SPECIAL = re.compile(r'["\\$<>^#\x00-\x1f\x7f]')
CERTIFICATE = "-----BEGIN CERTIFICATE-----"
SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"


class DirectoryError(ValueError):
    """The variables name no usable directory; the text has one line for each problem."""


def enabled(settings: Mapping[str, Any]) -> bool:
    """Say whether people of a directory get in at all."""
    return bool(settings.get("orthanc_ldap") or settings.get("orthanc_oidc"))


def accounts(settings: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the accounts as which the front logs in: by name, password and role."""
    if not enabled(settings):
        return {}
    password = str(settings.get("orthanc_directory_password") or "")
    return {f"{PREFIX}{role}": (password, role) for role in reversed(ROLES)}


def without_tls(settings: Mapping[str, Any]) -> list[str]:
    """Return what production refuses: passwords and logins that cross a network in the clear."""
    found = []
    ldap = settings.get("orthanc_ldap") or {}
    if isinstance(ldap, Mapping) and ldap.get("tls", LDAP_DEFAULTS["tls"]) == "none":
        found.append(
            "orthanc_ldap.tls is 'none'. Accepted in production: ldaps or starttls, since every "
            "password would cross the network in the clear. Set it, and ca_file where the "
            "directory's certificate is of the hospital's own CA (docs/access.md)."
        )
    oidc = settings.get("orthanc_oidc") or {}
    for key in ("issuer", "page_url") if isinstance(oidc, Mapping) else ():
        value = str(oidc.get(key, ""))
        if value.lower().startswith("http:"):
            found.append(
                f"orthanc_oidc.{key} is {value!r}. Accepted in production: a URL with https://, "
                "since whoever listens could log in as anybody. Correct it (docs/access.md)."
            )
    return found


def problems(settings: Mapping[str, Any]) -> list[str]:
    """Return everything that is wrong with the settings; an empty list means: nothing.

    Args:
        settings: orthanc_ldap and orthanc_oidc, each empty for off, orthanc_ldap_bind_password,
            orthanc_oidc_client_secret, orthanc_directory_password, orthanc_guarded.

    Returns:
        One text per problem, with variable, value (never a secret), accepted values and remedy.
    """
    found = []
    ldap, oidc = settings.get("orthanc_ldap") or {}, settings.get("orthanc_oidc") or {}
    for variable, value in (("orthanc_ldap", ldap), ("orthanc_oidc", oidc)):
        if not isinstance(value, Mapping):
            found.append(
                f"{variable} is of the type {type(value).__name__}. Accepted: a mapping; {{}} for "
                "off (docs/access.md)."
            )
    if found or not enabled(settings):
        return found
    if ldap:
        found += _key_problems("orthanc_ldap", ldap, LDAP_REQUIRED, LDAP_DEFAULTS)
        found += _ldap_problems({**LDAP_DEFAULTS, **ldap}, settings)
    if oidc:
        found += _key_problems("orthanc_oidc", oidc, OIDC_REQUIRED, OIDC_DEFAULTS)
        found += _oidc_problems({**OIDC_DEFAULTS, **oidc}, settings)
    password = settings.get("orthanc_directory_password")
    if not isinstance(password, str) or not password.strip() or "$" in password:
        found.append(
            "orthanc_directory_password is missing, or contains $. Accepted with orthanc_ldap or "
            "orthanc_oidc: a text, with which the web server logs in to Orthanc for people. Set it "
            'to "{{ vault_orthanc_directory_password }}" and run playbooks/init_secrets.yml.'
        )
    if settings.get("orthanc_guarded", True) in (False, "false", "no"):
        found.append(
            "orthanc_guarded is false, and orthanc_ldap or orthanc_oidc is set: nothing in "
            "orthanc_image would keep people to their roles. Accepted: an image with the guard. "
            "Remove one of them (docs/access.md)."
        )
    return found


def _key_problems(
    variable: str, given: Mapping[str, Any], required: Sequence[str], defaults: Mapping[str, Any]
) -> list[str]:
    found = [
        f"{variable} lacks {key}. Accepted: a mapping with {', '.join(required)}. Add it in the "
        "inventory (docs/access.md)."
        for key in required
        if key not in given
    ]
    return found + [
        f"{variable} has {key!r}. Accepted: {', '.join((*required, *defaults))}. Correct the name."
        for key in given
        if key not in (*required, *defaults)
    ]


def _ldap_problems(ldap: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    found = []
    servers = ldap.get("servers", ["-"])
    if not _texts(servers) or not all(SERVER.fullmatch(each) for each in servers):
        found.append(
            f"orthanc_ldap.servers is {servers!r}. Accepted: a list of names or addresses, as they "
            "stand in the directory's certificate, with a port where it is not the usual one. "
            "Correct it."
        )
    if ldap["tls"] not in LDAP_TLS:
        found.append(
            f"orthanc_ldap.tls is {ldap['tls']!r}. Accepted: {', '.join(LDAP_TLS)}. Correct it."
        )
    for key in ("user_attribute", "member_attribute"):
        if not ATTRIBUTE.fullmatch(str(ldap[key])):
            found.append(
                f"orthanc_ldap.{key} is {ldap[key]!r}. Accepted: the name of an attribute, such as "
                "uid, sAMAccountName or member. Correct it."
            )
    text = str(ldap["user_filter"])
    if not (text.startswith("(") and text.endswith(")")):
        found.append(
            f"orthanc_ldap.user_filter is {text!r}. Accepted: a filter in parentheses, such as "
            "(objectClass=person). Correct it."
        )
    if not str(ldap.get("base", "-")).strip():
        found.append("orthanc_ldap.base is empty. Accepted: the DN below which people are. Set it.")
    bind = str(ldap["bind_dn"])
    if SPECIAL.search(bind):
        found.append(_special("orthanc_ldap.bind_dn", bind))
    if bind and not settings.get("orthanc_ldap_bind_password"):
        found.append(
            "orthanc_ldap.bind_dn is set and orthanc_ldap_bind_password is not. Accepted: both, or "
            'neither. Set it to "{{ vault_orthanc_ldap_bind_password }}", and the value with '
            "ansible-vault edit (docs/secrets.md)."
        )
    if not isinstance(ldap["member_is_dn"], bool):
        found.append(
            f"orthanc_ldap.member_is_dn is {ldap['member_is_dn']!r}. Accepted: true; false where "
            "groups hold names, as posixGroup does in memberUid. Correct it."
        )
    found += _range_problems("orthanc_ldap.nested", ldap["nested"], 0, 10)
    found += _range_problems("orthanc_ldap.wrong_logins", ldap["wrong_logins"], 1, 100)
    return found + _group_problems("orthanc_ldap", ldap.get("groups", {"reader": ["-"]}))


def _oidc_problems(oidc: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    found = []
    for key in ("issuer", "page_url"):
        value = str(oidc.get(key, "https://-"))
        parts = urlsplit(value)
        wrong = parts.scheme not in ("https", "http") or not parts.hostname or parts.query
        bare = key == "page_url" and parts.path not in ("", "/")
        if wrong or bare or SPECIAL.search(value) or " " in value or parts.username:
            found.append(
                f"orthanc_oidc.{key} is {value!r}. Accepted: "
                + (
                    "the provider's issuer, a URL. "
                    if key == "issuer"
                    else "the URL of Orthanc's page as people open it, without a path, such as "
                    "https://images.hospital.example:8042. "
                )
                + "Correct it."
            )
    client = str(oidc.get("client_id", "-"))
    if not client.strip() or SPECIAL.search(client):
        found.append(_special("orthanc_oidc.client_id", client))
    if not _texts(oidc["scopes"]) or "openid" not in oidc["scopes"]:
        found.append(
            f"orthanc_oidc.scopes is {oidc['scopes']!r}. Accepted: a list of scopes with openid. "
            "Correct it."
        )
    elif not all(re.fullmatch(r"[A-Za-z0-9:/._-]+", each) for each in oidc["scopes"]):
        found.append(_special("orthanc_oidc.scopes", " ".join(oidc["scopes"])))
    for key in ("user_claim", "groups_claim"):
        if not CLAIM.fullmatch(str(oidc[key])):
            found.append(
                f"orthanc_oidc.{key} is {oidc[key]!r}. Accepted: the name of a claim, such as "
                "preferred_username, upn or groups. Correct it."
            )
    secret = settings.get("orthanc_oidc_client_secret")
    if not isinstance(secret, str) or not secret.strip() or "${" in secret:
        found.append(
            "orthanc_oidc_client_secret is missing, or contains ${. Accepted: what the provider "
            'gave to the client. Set it to "{{ vault_orthanc_oidc_client_secret }}", and the value '
            "with ansible-vault edit (docs/secrets.md)."
        )
    found += _range_problems("orthanc_oidc.session_hours", oidc["session_hours"], 1, 24)
    return found + _group_problems("orthanc_oidc", oidc.get("groups", {"reader": ["-"]}))


def _group_problems(variable: str, groups: Any) -> list[str]:
    accepted = f"Accepted: a mapping of {', '.join(reversed(ROLES))} to lists of groups."
    if not isinstance(groups, Mapping) or not groups or not set(groups) <= set(ROLES):
        shown = sorted(map(str, groups)) if isinstance(groups, Mapping) else groups
        return [f"{variable}.groups has {shown!r}. {accepted} Correct it (docs/access.md)."]
    found = []
    seen: dict[str, str] = {}
    for role, names in groups.items():
        if not isinstance(names, list) or not all(isinstance(n, str) and n.strip() for n in names):
            found.append(
                f"{variable}.groups.{role} is {names!r}. {accepted} Put names in quotes where they "
                "are numbers."
            )
            continue
        for name in names:
            if SPECIAL.search(name):
                found.append(_special(f"{variable}.groups.{role}", name))
            if name.lower() in seen:
                found.append(
                    f"{variable}.groups has {name!r} for {seen[name.lower()]} and for {role}. "
                    "Accepted: each group once. Remove one of them; who is in several groups has "
                    "the highest role."
                )
            seen[name.lower()] = role
    if not found and not seen:
        found.append(f"{variable}.groups names no group: nobody would get in. {accepted} Add one.")
    return found


def _special(label: str, value: str) -> str:
    return (
        f"{label} is {value!r}. Accepted: a text of at least one character, without any of "
        "these, which the web server's configuration reads as something else: "
        + '" \\ $ < > ^ #. Use a name without them.'
    )


def _range_problems(label: str, value: Any, least: int, most: int) -> list[str]:
    number = int(value) if re.fullmatch(r"[0-9]{1,4}", str(value)) else -1
    if least <= number <= most:
        return []
    return [f"{label} is {value!r}. Accepted: {least} to {most}. Correct it in the inventory."]


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)


def render(
    settings: Mapping[str, Any],
    page: str,
    users: Iterable[str],
    read: Callable[[str], str],
) -> dict[str, Any]:
    """Return what the front needs for the people of a directory; nothing of it where there is none.

    Args:
        settings: as for `problems`.
        page: name of the page that they get in at, as in pages.conf.
        users: names of the service's own users, who are never looked for in the directory.
        read: returns the content of a file of the controller, and raises OSError.

    Returns:
        configuration: of Apache httpd, without a secret. authorities: PEM by name of the file below
        /etc/front. secrets: a list of mappings with name, content and variable, files below
        /run/secrets. The same settings always give the same texts. Empty where both are off.

    Raises:
        DirectoryError: there are problems; the text holds all of them, and no secret.
    """
    found = problems(settings)
    authorities: dict[str, str] = {}
    for variable in ("orthanc_ldap", "orthanc_oidc"):
        given = settings.get(variable) or {}
        path = given.get("ca_file") if isinstance(given, Mapping) else ""
        if path and not found:
            name = variable.replace("orthanc_", "") + "_ca.pem"
            authorities[name] = _authority(f"{variable}.ca_file", str(path), read, found)
    if found:
        raise DirectoryError("\n".join(found))
    if not enabled(settings):
        return {}
    own = sorted({hashlib.sha1(_folded(user)).hexdigest() for user in users}) or ["-"]
    lines = [
        "# People of a directory: orthanc_ldap, orthanc_oidc.",
        f"Define directory_{page}",
        "# Users of the service, as SHA-1 of their names in small letters.",
        'Define own_names "' + ", ".join(f"'{each}'" for each in own) + '"',
        f'Define own_digests "{" ".join(own)}"',
        "Include /run/secrets/directory_accounts",
    ]
    groups: list[str] = []
    if settings.get("orthanc_ldap"):
        ldap = {**LDAP_DEFAULTS, **settings["orthanc_ldap"]}
        lines += _ldap_definitions(ldap, "ldap_ca.pem" in authorities)
        groups += _ldap_groups(ldap["groups"])
    if settings.get("orthanc_oidc"):
        oidc = {**OIDC_DEFAULTS, **settings["orthanc_oidc"]}
        lines += _oidc_definitions(oidc, "oidc_ca.pem" in authorities)
    lines += ["Include directory.conf", *groups]
    return {
        "configuration": "\n".join(lines) + "\n",
        "authorities": authorities,
        "secrets": _secrets(settings),
    }


def _authority(label: str, path: str, read: Callable[[str], str], found: list[str]) -> str:
    remedy = "Accepted: a file of the controller with certificates of CAs, PEM. Correct it."
    try:
        text = read(path)
    except (OSError, UnicodeDecodeError) as error:
        found.append(f"{label} is {path!r}, which cannot be read ({error}). {remedy}")
        return ""
    if CERTIFICATE not in text or "PRIVATE KEY" in text:
        found.append(f"{label} is {path!r}, which holds no certificate, or a key. {remedy}")
    return text


def _folded(name: str) -> bytes:
    """Return a name with ASCII's capitals made small, as Apache's tolower() does."""
    return bytes(byte + 32 if 65 <= byte <= 90 else byte for byte in name.encode())


def _ldap_definitions(ldap: Mapping[str, Any], own_ca: bool) -> list[str]:
    scheme, security = LDAP_TLS[ldap["tls"]]
    attribute = str(ldap["user_attribute"])
    url = (
        f"{scheme}://{' '.join(ldap['servers'])}/{quote(str(ldap['base']), safe='=,')}"
        f"?{attribute}?sub?{quote(str(ldap['user_filter']), safe='()=&|!*:.')}"
    )
    lines = [
        f'Define ldap_url "{url}"',
        f"Define ldap_security {security}",
        f"Define ldap_ca {'/etc/front/ldap_ca.pem' if own_ca else SYSTEM_CA}",
        f"Define ldap_attribute {attribute}",
        f"Define ldap_variable {attribute.upper()}",
        f"Define ldap_member {ldap['member_attribute']}",
        f"Define ldap_member_is_dn {'on' if ldap['member_is_dn'] else 'off'}",
        f"Define ldap_depth {int(ldap['nested'])}",
        f"Define ldap_wrong_logins {int(ldap['wrong_logins'])}",
    ]
    if ldap["bind_dn"]:
        lines.append(f'Define ldap_bind_dn "{ldap["bind_dn"]}"')
    return lines


def _ldap_groups(groups: Mapping[str, Sequence[str]]) -> list[str]:
    lines, required = [], []
    for role in ROLES:
        for number, dn in enumerate(groups.get(role) or [], 1):
            lines.append(f'Use Ldap_group {role} {number} "{dn}"')
            required.append(f"    Require ldap-{role}-{number}")
    return [*lines, "# The first that holds decides.", "<Macro Ldap_groups>", *required, "</Macro>"]


def _oidc_definitions(oidc: Mapping[str, Any], own_ca: bool) -> list[str]:
    page = str(oidc["page_url"]).rstrip("/")
    seconds = int(oidc["session_hours"]) * 3600
    return [
        f'Define oidc_issuer "{str(oidc["issuer"]).rstrip("/")}"',
        f'Define oidc_client "{oidc["client_id"]}"',
        f'Define oidc_page "{page}"',
        f"Define oidc_host {urlsplit(page).netloc}",
        f"Define oidc_ca {'/etc/front/oidc_ca.pem' if own_ca else SYSTEM_CA}",
        f'Define oidc_scopes "{" ".join(oidc["scopes"])}"',
        f"Define oidc_user {oidc['user_claim']}",
        f"Define oidc_groups {oidc['groups_claim']}",
        f"Define oidc_seconds {seconds}",
        f"Define oidc_cookie {'__Host-' if page.startswith('https:') else ''}front_session",
        *(
            f'Define oidc_{role} "{_expression(oidc["groups"].get(role) or [])}"'
            for role in reversed(ROLES)
        ),
    ]


def _expression(names: Sequence[str]) -> str:
    """Return what one of the groups of a person is compared with, as a whole.

    A character that means something in an expression stands in brackets, since a backslash means
    something to the web server. Names have neither ``^`` nor ``#`` (`SPECIAL`).
    """
    escaped = (
        "".join(each if each.isalnum() or not each.isascii() else f"[{each}]" for each in name)
        for name in names
    )
    # (?!) holds nowhere.
    return "|".join(escaped) or "(?!)"


def _secrets(settings: Mapping[str, Any]) -> list[dict[str, str]]:
    logins = (
        (role, base64.b64encode(f"{name}:{password}".encode()).decode())
        for name, (password, role) in accounts(settings).items()
    )
    found = [
        {
            "name": "directory_accounts",
            "content": "".join(f"Define account_{role} {login}\n" for role, login in logins),
            "variable": "orthanc_directory_password",
        }
    ]
    if (settings.get("orthanc_ldap") or {}).get("bind_dn"):
        found.append(
            {
                "name": "ldap_password",
                "content": str(settings["orthanc_ldap_bind_password"]),
                "variable": "orthanc_ldap_bind_password",
            }
        )
    if settings.get("orthanc_oidc"):
        secret = re.sub(r'(["\\])', r"\\\1", str(settings["orthanc_oidc_client_secret"]))
        # Of its own kind, so that what encrypts cookies is no login.
        key = "cookies of the front\0" + str(settings["orthanc_directory_password"])
        passphrase = hashlib.sha256(key.encode()).hexdigest()
        found.append(
            {
                "name": "oidc_client",
                "content": f'OIDCClientSecret "{secret}"\nOIDCCryptoPassphrase {passphrase}\n',
                "variable": "orthanc_oidc_client_secret",
            }
        )
    return found
