"""What Orthanc's configuration says of the guard: the section ``NodeGuard``, and the users."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .marks import Marks
from .roles import ROLES, may

SECTION = "NodeGuard"
_LISTS = ("Methods", "Codes", "PseudonymPrefixes")


class SettingsError(ValueError):
    """The configuration does not say what is guarded; Orthanc must not start with it."""


@dataclass(frozen=True)
class Guard:
    """What is asked of objects, and of people."""

    marks: Marks
    roles: Mapping[str, str]
    """User to role."""

    def may(self, headers: Mapping[str, str], method: str, path: str) -> bool:
        """Say whether the user of a request may ask for this.

        Args:
            headers: of the request, with small letters; Orthanc has compared the login in them
                with its users.
            method: GET, POST, PUT or DELETE.
            path: without the query.
        """
        return may(self.roles.get(user_of(headers), ""), method, path)


def user_of(headers: Mapping[str, str]) -> str:
    """Return whose login (HTTP Basic, RFC 7617) a request carries; nobody's is empty."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme != "Basic":
        return ""
    try:
        return base64.b64decode(given, validate=True).decode("utf-8").partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def read(configuration: Mapping[str, Any]) -> Guard:
    """Return the guard that a configuration describes.

    Raises:
        SettingsError: it says nothing of it, or not all, or something else. Passwords are not in
            the text.
    """
    section = _mapping(configuration.get(SECTION), SECTION, {"Marks", "Roles"})
    wanted = _mapping(section["Marks"], f"{SECTION}.Marks", {"IdentityRemoved", *_LISTS})
    if not isinstance(wanted["IdentityRemoved"], bool):
        raise SettingsError(f"{SECTION}.Marks.IdentityRemoved is neither true nor false.")
    texts = {name: _texts(wanted[name], f"{SECTION}.Marks.{name}") for name in _LISTS}
    marks = Marks(
        wanted["IdentityRemoved"],
        texts["Methods"],
        texts["Codes"],
        texts["PseudonymPrefixes"],
    )
    if not wanted["IdentityRemoved"] and not any(texts.values()):
        raise SettingsError(f"{SECTION}.Marks asks for nothing.")
    # Without a login nobody knows who asks.
    if configuration.get("AuthenticationEnabled") is not True:
        raise SettingsError("AuthenticationEnabled is not true.")
    roles = section["Roles"]
    users = configuration.get("RegisteredUsers")
    if not isinstance(roles, Mapping) or not isinstance(users, Mapping) or not users:
        raise SettingsError(f"RegisteredUsers and {SECTION}.Roles are no mappings with users.")
    if set(roles) != set(users):
        raise SettingsError(f"{SECTION}.Roles has other users than RegisteredUsers.")
    for user, role in roles.items():
        if role not in ROLES:
            raise SettingsError(f"{SECTION}.Roles: the role of {user!r} is none of {ROLES}.")
    return Guard(marks, dict(roles))


def _mapping(value: Any, name: str, keys: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SettingsError(f"{name} is missing or no mapping.")
    if set(value) != keys:
        raise SettingsError(f"{name} has not exactly the keys {', '.join(sorted(keys))}.")
    return value


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise SettingsError(f"{name} is no list of texts.")
    return tuple(value)
