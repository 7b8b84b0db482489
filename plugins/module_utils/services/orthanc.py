"""Orthanc's configuration file as data: what the inventory says, checked and put together.

Everything here is pure. The names of settings are Orthanc's own (Orthanc Book, "Configuration").
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.services import directory

# The variables of the role orthanc that the configuration is made of.
VARIABLES = (
    "orthanc_name",
    "orthanc_remote_access_allowed",
    "orthanc_authentication_enabled",
    "orthanc_registered_users",
    "orthanc_users",
    "orthanc_required_marks",
    "orthanc_guarded",
    "orthanc_image",
    "orthanc_aet",
    "orthanc_options",
    "orthanc_plugins",
    "orthanc_ctp_aet",
    "orthanc_ctp_addresses",
    "orthanc_find_limit",
    "orthanc_dicom_tls",
    "orthanc_ldap",
    "orthanc_oidc",
    "orthanc_directory_password",
)
# Settings that have a variable of their own.
VARIABLE_OF_OPTION = {
    "Name": "orthanc_name",
    "RemoteAccessAllowed": "orthanc_remote_access_allowed",
    "AuthenticationEnabled": "orthanc_authentication_enabled",
    "RegisteredUsers": "orthanc_registered_users",
    "DicomAet": "orthanc_aet",
}
# Settings that the image, the stack and the health check rely on, with the reason.
FIXED_OPTIONS = {
    "StorageDirectory": "the data directory of the host is mounted there (auscat_data_root)",
    "IndexDirectory": "the data directory of the host is mounted there (auscat_data_root)",
    "HttpPort": "the stack publishes it; the port on the host is orthanc_web_port",
    "HttpServerEnabled": "the health check and the proof need the REST API",
    "SslEnabled": "the web server and the health check ask it over plain HTTP. The page has HTTPS "
    "from the web server (auscat_tls)",
    "DicomPort": "the stack publishes it; the port on the host is orthanc_dicom_port",
    "DicomServerEnabled": "CTP delivers to it",
    "Plugins": "they are part of the image, and further ones are named in orthanc_plugins",
    "PythonScript": "it is the guard of the archive, part of the image",
    "NodeGuard": "it follows from orthanc_users, orthanc_registered_users and "
    "orthanc_required_marks",
}
# Debian's plugins that orthanc_plugins may name (images/orthanc/entrypoint.sh). And why others may
# not be named.
PLUGINS = ("delayed-deletion", "housekeeper", "neuro", "web-viewer", "wsi")
OTHER_PLUGINS = {
    **dict.fromkeys(("dicom-web", "gdcm", "python"), "is always loaded"),
    "multitenant-dicom": "opens further DICOM servers, past who may store",
    **dict.fromkeys(
        ("mysql", "postgresql"), "keeps the index where backups and upgrades do not look for it"
    ),
    "serve-folders": "hands out files of Orthanc's container, its passwords among them",
    "worklists": "answers with lists that name patients",
}
# What a user may do (images/orthanc/src/orthanc_guard/roles.py). Those of orthanc_registered_users
# have the last one.
ROLES = ("reader", "curator", "admin")
ADMIN = ROLES[-1]
# What an object carries that the rules of this project de-identified: orthanc_required_marks, where
# nothing else is set (PS3.15 E.1.1). 113100: Basic Application Confidentiality Profile.
OWN_MARKS: dict[str, Any] = {
    "identity_removed": True,
    "methods": ["AusCAT imaging: "],
    "codes": ["113100"],
    "pseudonym_prefixes": ["ANON-"],
}
# Beyond Orthanc's defaults, unless orthanc_options says otherwise. 16 KiB, Orthanc's own length
# of a PDU, makes the ingest of a CT series three times as slow (measured).
DEFAULT_OPTIONS: dict[str, Any] = {
    "MaximumPduLength": 131072,
    # A minute after a series, DICOMweb reads all of it again, so that a viewer gets its metadata
    # at once: four fifths of what Orthanc does for an object (measured, 17 of 22 ms).
    "DicomWeb": {"EnableMetadataCache": False},
}
# What locks Orthanc to CTP, unless orthanc_options says otherwise (Orthanc Book, "Security").
# Who may do what over DICOM then follows from DicomModalities alone.
LOCKED_OPTIONS: dict[str, Any] = {
    "DicomAlwaysAllowEcho": False,
    "DicomAlwaysAllowStore": False,
    "DicomAlwaysAllowFind": False,
    "DicomAlwaysAllowGet": False,
    "DicomAlwaysAllowMove": False,
    "DicomCheckCalledAet": True,
    "ExecuteLuaEnabled": False,
    "RestApiWriteToFileSystemEnabled": False,
    "DeidentifyLogs": True,
}
# Orthanc leaves out what is beyond the limit without a word, in the REST API (/tools/find) as over
# DICOM (measured, 1.12.7). A researcher who asks for a CT series must get all of it.
FIND_LIMIT = 10000
# CTP delivers and tries the connection. It asks for nothing.
CTP_MAY = {
    "AllowEcho": True,
    "AllowStore": True,
    "AllowFind": False,
    "AllowGet": False,
    "AllowMove": False,
    "AllowStorageCommitment": False,
}
# DICOM over TLS, and whoever calls has to show a certificate of one of these CAs. Where nothing
# else is said, Orthanc takes TLS 1.2 or later with the ciphers of BCP 195.
TLS_OPTIONS: dict[str, Any] = {
    "DicomTlsEnabled": True,
    "DicomTlsCertificate": "/run/secrets/tls.crt",
    "DicomTlsPrivateKey": "/run/secrets/tls.key",
    "DicomTlsTrustedCertificates": "/etc/auscat/tls/ca.pem",
    "DicomTlsRemoteCertificateRequired": True,
}
# Orthanc never calls CTP; the port only completes the entry.
CTP_PORT = 8104

# An AE title has at most 16 characters (PS3.5, 6.2), of which a backslash may be none.
AET_LENGTH = 16


class OrthancConfigurationError(ValueError):
    """The variables give no usable configuration; the text has one line for each problem."""


def problems(settings: Mapping[str, Any]) -> list[str]:
    """Return everything that is wrong with the settings; an empty list means: nothing.

    Args:
        settings: the role's variables by name, see `VARIABLES`. A missing one counts as empty.

    Returns:
        One text per problem, with variable, value (never a password), accepted values and remedy.
    """
    found = []
    name = settings.get("orthanc_name")
    if not isinstance(name, str) or not name.strip() or "$" in name:
        found.append(
            f"orthanc_name is {name!r}. Accepted: a text of at least one character, without $. "
            "It is what Orthanc's web page is headed with."
        )
    found += _switch_problems(settings)
    registered = settings.get("orthanc_registered_users")
    found += _user_problems(registered)
    found += _role_problems(settings.get("orthanc_users", []), registered)
    found += _namesake_problems(settings)
    found += _mark_problems(settings.get("orthanc_required_marks", OWN_MARKS))
    found += _guarded_problems(settings)
    found += _plugin_problems(settings)
    aet = settings.get("orthanc_aet")
    if not _is_ae_title(aet):
        found.append(
            f"orthanc_aet is {aet!r}. Accepted: an AE title, 1 to {AET_LENGTH} printable ASCII "
            "characters, no backslash and no space at either end."
        )
    found += _ctp_problems(settings)
    options = settings.get("orthanc_options", {})
    if _boolean(settings.get("orthanc_dicom_tls", False)) and isinstance(options, Mapping):
        found += [
            f"orthanc_options contains {option}, which follows from orthanc_dicom_tls. Accepted: "
            "any other setting of Orthanc. Remove it."
            for option in TLS_OPTIONS
            if option in options
        ]
    return found + _option_problems(options)


def _ctp_problems(settings: Mapping[str, Any]) -> list[str]:
    found = []
    aet = settings.get("orthanc_ctp_aet", "CTP")
    if not _is_ae_title(aet):
        found.append(
            f"orthanc_ctp_aet is {aet!r}. Accepted: an AE title, 1 to {AET_LENGTH} printable ASCII "
            "characters, no backslash and no space at either end: the one under which CTP calls."
        )
    limit = settings.get("orthanc_find_limit", FIND_LIMIT)
    if not re.fullmatch(r"[0-9]{1,9}", str(limit)):
        found.append(
            f"orthanc_find_limit is {limit!r}. Accepted: a whole number, 0 for no limit. Correct "
            "it in the inventory."
        )
    addresses = settings.get("orthanc_ctp_addresses", [])
    if isinstance(addresses, str) or not isinstance(addresses, Sequence):
        return [
            *found,
            f"orthanc_ctp_addresses is of the type {_kind(addresses)}. Accepted: a list of "
            "addresses; [] where CTP's address changes.",
        ]
    for index, address in enumerate(addresses):
        try:
            ipaddress.ip_address(address if isinstance(address, str) else "")
        except ValueError:
            found.append(
                f"orthanc_ctp_addresses[{index}] is {address!r}. Accepted: an IPv4 or IPv6 "
                "address, which Orthanc compares with where an association comes from. Write it."
            )
    return found


def locked_to_ctp(aet: str, addresses: Sequence[str]) -> dict[str, Any]:
    """Return the settings that let CTP alone deliver over DICOM.

    Args:
        aet: AE title under which CTP calls.
        addresses: where its associations come from, as Orthanc sees them. Empty: not checked.

    Several addresses make several modalities of one AE title; Orthanc accepts any of them.
    """
    hosts = list(addresses) or ["ctp"]
    modalities = {
        "ctp" if number == 1 else f"ctp{number}": {
            "AET": aet,
            "Host": host,
            "Port": CTP_PORT,
            **CTP_MAY,
        }
        for number, host in enumerate(hosts, 1)
    }
    return {
        **LOCKED_OPTIONS,
        "DicomCheckModalityHost": bool(addresses),
        "DicomModalities": modalities,
    }


def _switch_problems(settings: Mapping[str, Any]) -> list[str]:
    found = []
    allowed = settings.get("orthanc_remote_access_allowed")
    if _boolean(allowed) is None:
        found.append(
            f"orthanc_remote_access_allowed is {allowed!r}. Accepted: true or false. false shuts "
            "out everybody outside Orthanc's own container."
        )
    enabled = settings.get("orthanc_authentication_enabled")
    if _boolean(enabled) is not True:
        found.append(
            f"orthanc_authentication_enabled is {enabled!r}. Accepted: true, on every node: "
            "without a login anybody who reaches the port reads and deletes studies. Remove it "
            "from the inventory."
        )
    return found


def _user_problems(users: Any) -> list[str]:
    remedy = (
        "Accepted: a mapping of at least one user name to a password. Set it in the inventory, "
        "in production in the vault."
    )
    if not isinstance(users, Mapping):
        kind = "missing" if users is None else f"of the type {_kind(users)}"
        return [f"orthanc_registered_users is {kind}. {remedy}"]
    if not users:
        return [f"orthanc_registered_users is empty. {remedy}"]
    return [
        problem
        for user, password in users.items()
        for problem in _login_problems("orthanc_registered_users", user, password)
    ]


def _login_problems(variable: str, user: Any, password: Any) -> list[str]:
    found = []
    if not isinstance(user, str) or not user.strip() or ":" in user or "$" in user:
        found.append(
            f"{variable} contains the user {user!r}. Accepted: a text of at "
            "least one character, in quotes where it is a number, without : and $ (a colon "
            "ends the user name in an HTTP login). Rename the user."
        )
    if not isinstance(password, str):
        found.append(
            f"{variable}: the password of {user!r} is of the type "
            f"{_kind(password)}. Accepted: a text. Put it in quotes."
        )
    elif not password.strip():
        found.append(
            f"{variable}: the password of {user!r} is empty. Accepted: a text "
            "of at least one character. Set it in the inventory, in production in the vault."
        )
    elif "$" in password:
        found.append(
            f"{variable}: the password of {user!r} contains $. Accepted: a text "
            "without it, since Orthanc's images replace $NAME in their configuration. Choose "
            "another password."
        )
    return found


def _role_problems(users: Any, registered: Any) -> list[str]:
    if isinstance(users, str) or not isinstance(users, Sequence):
        return [
            f"orthanc_users is of the type {_kind(users)}. Accepted: a list of users, each with "
            "name, password and role; [] for none."
        ]
    found = []
    seen: set[Any] = set()
    for index, user in enumerate(users):
        place = f"orthanc_users[{index}]"
        if not isinstance(user, Mapping) or set(user) != {"name", "password", "role"}:
            keys = ", ".join(sorted(map(str, user))) if isinstance(user, Mapping) else _kind(user)
            found.append(
                f"{place} has {keys or 'nothing'}. Accepted: name, password and role, and nothing "
                "else. Correct it in the inventory."
            )
            continue
        name, role = user["name"], user["role"]
        found += _login_problems("orthanc_users", name, user["password"])
        if role not in ROLES:
            found.append(
                f"orthanc_users: the role of {name!r} is {role!r}. Accepted: {', '.join(ROLES)}. "
                "Correct it in the inventory (docs/access.md)."
            )
        if not isinstance(name, str):
            continue
        if name in seen:
            found.append(
                f"orthanc_users contains the user {name!r} twice. Accepted: each name once. Remove "
                "one of them."
            )
        elif isinstance(registered, Mapping) and name in registered:
            found.append(
                f"orthanc_users contains the user {name!r}, whom orthanc_registered_users has too, "
                f"as {ADMIN}. Accepted: a name in one of them. Remove it from the other."
            )
        seen.add(name)
    return found


def _namesake_problems(settings: Mapping[str, Any]) -> list[str]:
    """Return which users have a name of the accounts that the web server logs in as."""
    if not directory.enabled(settings):
        return []
    registered, users = settings.get("orthanc_registered_users"), settings.get("orthanc_users", [])
    names = {"orthanc_registered_users": list(registered or [])}
    names["orthanc_users"] = [each.get("name") for each in users if isinstance(each, Mapping)]
    return [
        f"{variable} contains the user {name!r}. Accepted with orthanc_ldap or orthanc_oidc: names "
        f"that do not begin with {directory.PREFIX}, as which the web server logs in for people "
        "of the directory. Rename the user."
        for variable, each in names.items()
        for name in each
        if isinstance(name, str) and name.lower().startswith(directory.PREFIX)
    ]


def _mark_problems(marks: Any) -> list[str]:
    accepted = "Accepted: a mapping with identity_removed, methods, codes and pseudonym_prefixes."
    remedy = "Leave it out, and it follows from CTP's rules (docs/access.md)."
    if not isinstance(marks, Mapping):
        return [f"orthanc_required_marks is of the type {_kind(marks)}. {accepted} {remedy}"]
    if set(marks) != set(OWN_MARKS):
        keys = ", ".join(sorted(map(str, marks))) or "nothing"
        return [f"orthanc_required_marks has {keys}. {accepted} {remedy}"]
    found = []
    if _boolean(marks["identity_removed"]) is None:
        found.append(
            f"orthanc_required_marks.identity_removed is {marks['identity_removed']!r}. Accepted: "
            f"true or false. {remedy}"
        )
    for key in ("methods", "codes", "pseudonym_prefixes"):
        texts = marks[key]
        if (
            isinstance(texts, str)
            or not isinstance(texts, Sequence)
            or not all(isinstance(each, str) and each.strip() and "$" not in each for each in texts)
        ):
            found.append(
                f"orthanc_required_marks.{key} is {texts!r}. Accepted: a list of texts of at least "
                f"one character, in quotes where they are numbers, without $; [] for any. {remedy}"
            )
    asked = [key for key in ("methods", "codes", "pseudonym_prefixes") if marks[key]]
    if not found and not asked and _boolean(marks["identity_removed"]) is False:
        found.append(
            "orthanc_required_marks asks for nothing, so that identified objects would get into "
            f"the archive. Accepted: at least one mark. {remedy}"
        )
    return found


def _guarded_problems(settings: Mapping[str, Any]) -> list[str]:
    guarded = settings.get("orthanc_guarded", True)
    if _boolean(guarded) is None:
        return [
            f"orthanc_guarded is {guarded!r}. Accepted: true or false. false says that "
            "orthanc_image has no guard of this project in it (docs/access.md)."
        ]
    if _boolean(guarded):
        return []
    if not settings.get("orthanc_image"):
        return [
            "orthanc_guarded is false, and orthanc_image is empty. Accepted: true, since this "
            "project's image has the guard. Remove orthanc_guarded from the inventory."
        ]
    users = settings.get("orthanc_users", [])
    lesser = [
        str(user["name"])
        for user in (users if isinstance(users, list) else [])
        if isinstance(user, Mapping) and user.get("role") != ADMIN and "name" in user
    ]
    if lesser:
        return [
            f"orthanc_users gives {', '.join(lesser)} less than the role {ADMIN}, and "
            "orthanc_guarded is false: nothing in orthanc_image would keep them to it. Accepted: "
            f"users with the role {ADMIN}, or an image with the guard (docs/access.md)."
        ]
    return []


def _plugin_problems(settings: Mapping[str, Any]) -> list[str]:
    plugins = settings.get("orthanc_plugins", [])
    accepted = f"Accepted: {', '.join(PLUGINS)}, each once."
    if isinstance(plugins, str) or not isinstance(plugins, Sequence):
        return [
            f"orthanc_plugins is of the type {_kind(plugins)}. Accepted: a list of "
            f"{', '.join(PLUGINS)}; [] for none."
        ]
    found = []
    for index, name in enumerate(plugins):
        if name not in PLUGINS:
            why = OTHER_PLUGINS.get(str(name), "is no plugin of Debian's for Orthanc")
            found.append(f"orthanc_plugins[{index}] is {name!r}, which {why}. {accepted}")
        elif name in list(plugins)[:index]:
            found.append(f"orthanc_plugins contains {name!r} twice. {accepted} Remove one.")
    if plugins and _boolean(settings.get("orthanc_guarded", True)) is False:
        found.append(
            "orthanc_plugins is not empty, and orthanc_guarded is false: an image that is not this "
            "project's does not read it. Accepted: []. Name its plugins as that image wants them."
        )
    return found


def _guard(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the guard in Orthanc's image reads (images/orthanc/src/orthanc_guard)."""
    marks = settings.get("orthanc_required_marks", OWN_MARKS)
    return {
        "Marks": {
            "IdentityRemoved": _boolean(marks["identity_removed"]),
            "Methods": list(marks["methods"]),
            "Codes": list(marks["codes"]),
            "PseudonymPrefixes": list(marks["pseudonym_prefixes"]),
        },
        "Roles": {
            **dict.fromkeys(settings["orthanc_registered_users"], ADMIN),
            **{user["name"]: user["role"] for user in settings.get("orthanc_users", [])},
            **{name: role for name, (_, role) in directory.accounts(settings).items()},
        },
    }


def first_admin(configuration: Mapping[str, Any]) -> tuple[str, str]:
    """Return name and password of a user who may do everything, both empty for none.

    Never an account of the web server's, whose password changes with the directory's settings.

    Args:
        configuration: the content of orthanc.json, also of a version without roles.
    """
    roles = (configuration.get("NodeGuard") or {}).get("Roles") or {}
    for user, password in (configuration.get("RegisteredUsers") or {}).items():
        if roles.get(user, ADMIN) == ADMIN and not user.startswith(directory.PREFIX):
            return user, password
    return "", ""


def _option_problems(options: Any) -> list[str]:
    if not isinstance(options, Mapping):
        return [
            f"orthanc_options is of the type {_kind(options)}. Accepted: a mapping of Orthanc's "
            "settings, such as {OverwriteInstances: true}; {} for none."
        ]
    found = []
    for option, value in options.items():
        if option == "AuthenticationEnabled" and _boolean(value) is not True:
            found.append(
                f"orthanc_options.AuthenticationEnabled is {value!r}. Accepted: nothing, the login "
                "cannot be switched off. Remove it."
            )
        elif option in VARIABLE_OF_OPTION:
            found.append(
                f"orthanc_options contains {option}. Accepted: settings without a variable of "
                f"their own. Use {VARIABLE_OF_OPTION[option]} instead."
            )
        elif option in FIXED_OPTIONS:
            found.append(
                f"orthanc_options contains {option}, which is fixed: {FIXED_OPTIONS[option]}. "
                "Accepted: any other setting of Orthanc. Remove it."
            )
        elif not isinstance(option, str):
            found.append(
                f"orthanc_options contains the setting {option!r}. Accepted: a text, as Orthanc "
                "names it. Put it in quotes."
            )
        else:
            place = _no_json(value, f"orthanc_options.{option}")
            if place:
                found.append(
                    f"{place}. Accepted: texts, numbers, true, false, null, lists, and mappings "
                    "with texts as keys. Put it in quotes."
                )
    return found


def configuration(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration that follows from the settings.

    Args:
        settings: as for `problems`.

    Raises:
        OrthancConfigurationError: there are problems; the text holds all of them.
    """
    found = problems(settings)
    if found:
        raise OrthancConfigurationError("\n".join(found))
    own = {option: settings[variable] for option, variable in VARIABLE_OF_OPTION.items()}
    for switch in ("RemoteAccessAllowed", "AuthenticationEnabled"):
        own[switch] = _boolean(own[switch])
    own["RegisteredUsers"] = {
        **own["RegisteredUsers"],
        **{user["name"]: user["password"] for user in settings.get("orthanc_users", [])},
        **{name: password for name, (password, _) in directory.accounts(settings).items()},
    }
    if _boolean(settings.get("orthanc_guarded", True)):
        own["NodeGuard"] = _guard(settings)
    options = settings["orthanc_options"]
    locked = locked_to_ctp(
        settings.get("orthanc_ctp_aet", "CTP"), settings.get("orthanc_ctp_addresses", [])
    )
    limit = int(settings.get("orthanc_find_limit", FIND_LIMIT))
    locked |= {"LimitFindResults": limit, "LimitFindInstances": limit}
    further = options.get("DicomModalities")
    if isinstance(further, Mapping):
        # A site that adds a modality does not mean to shut CTP out.
        options = {**options, "DicomModalities": {**locked["DicomModalities"], **further}}
    secure = TLS_OPTIONS if _boolean(settings.get("orthanc_dicom_tls", False)) else {}
    merged: dict[str, Any] = _plain({**DEFAULT_OPTIONS, **locked, **options, **own, **secure})
    return merged


def render(settings: Mapping[str, Any]) -> str:
    """Return the content of ``orthanc.json``: the same settings always give the same text.

    Raises:
        OrthancConfigurationError: as `configuration`.
    """
    return json.dumps(configuration(settings), indent=2, sort_keys=True) + "\n"


def _boolean(value: Any) -> bool | None:
    """Return the truth value; ``--extra-vars name=true`` hands it over as a text. None: neither."""
    if isinstance(value, str):
        return {"true": True, "yes": True, "false": False, "no": False}.get(value.lower())
    return value if isinstance(value, bool) else None


def _is_ae_title(value: Any) -> bool:
    return (
        isinstance(value, str)
        and 1 <= len(value) <= AET_LENGTH
        and value == value.strip()
        and "\\" not in value
        and "$" not in value
        and all(" " <= character <= "~" for character in value)
    )


def _kind(value: Any) -> str:
    return next(
        (
            name
            for kind, name in (
                (bool, "true or false"),
                (str, "text"),
                ((int, float), "number"),
                (Mapping, "mapping"),
                (Sequence, "list"),
            )
            if isinstance(value, kind)
        ),
        "null" if value is None else type(value).__name__,
    )


def _no_json(value: Any, place: str) -> str:
    """Return where a value holds what JSON cannot say, or nothing. Values are not repeated."""
    if value is None or isinstance(value, (bool, int, float, str)):
        # JSON has no infinity; NaN is the number that differs from itself.
        if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))):
            return f"{place} is no finite number"
        return ""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                return f"{place} contains the key {key!r}, which is no text"
            inner = _no_json(item, f"{place}.{key}")
            if inner:
                return inner
        return ""
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        inners = (_no_json(item, f"{place}[{index}]") for index, item in enumerate(value))
        return next((inner for inner in inners if inner), "")
    return f"{place} is of the type {type(value).__name__}"


def _plain(value: Any) -> Any:
    """Return the value in Python's own types; Ansible's carry marks that JSON need not know."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return str(value)
