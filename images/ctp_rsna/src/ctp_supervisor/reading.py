"""How a program reads what it is told: JSON that the role has rendered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from program_settings import SettingsError


def configuration(environment: Mapping[str, str]) -> Path:
    """Return the directory of what the role has rendered."""
    return Path(environment.get("CTP_CONFIGURATION_DIRECTORY") or "/etc/ctp")


def secrets(environment: Mapping[str, str]) -> Path:
    """Return the directory of the secrets."""
    return Path(environment.get("CTP_SECRETS_DIRECTORY") or "/run/secrets")


def bind(environment: Mapping[str, str]) -> str:
    """Return the address that a program listens on."""
    return environment.get("CTP_BIND_ADDRESS") or "0.0.0.0"


def read(path: Path) -> Reader:
    """What the role has rendered there. Raises ``SettingsError`` naming the file."""
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{path} cannot be read ({type(error).__name__}). It is rendered by the role ctp."
        ) from error
    except ValueError as error:
        raise SettingsError(f"{path} is not JSON: {error}.") from error
    return Reader(given, str(path))


class Reader:
    """Reads the values of a mapping. Each raises ``SettingsError`` naming the file and the key."""

    def __init__(self, given: Any, where: str) -> None:
        if not isinstance(given, dict):
            raise SettingsError(f"{where} has to be a mapping.")
        self._given = given
        self._where = where

    def _value(self, key: str) -> Any:
        if key not in self._given:
            raise SettingsError(f"{self._where}: {key} is missing.")
        return self._given[key]

    def text(self, key: str, empty: bool = False) -> str:
        """A text; ``empty``: it may be."""
        value = self._value(key)
        if not isinstance(value, str) or not (value or empty):
            raise SettingsError(f"{self._where}: {key} has to be a text.")
        return value

    def texts(self, key: str, empty: bool = False) -> list[str]:
        """A list of texts; ``empty``: each may be."""
        value = self._value(key)
        if not isinstance(value, list) or not all(
            isinstance(each, str) and (each or empty) for each in value
        ):
            raise SettingsError(f"{self._where}: {key} has to be a list of texts.")
        return value

    def number(self, key: str, lowest: int, highest: int) -> int:
        """A whole number within these bounds, both included."""
        value = self._value(key)
        if type(value) is not int or not lowest <= value <= highest:
            raise SettingsError(
                f"{self._where}: {key} has to be a whole number from {lowest} to {highest}."
            )
        return value

    def boolean(self, key: str) -> bool:
        """True or false."""
        value = self._value(key)
        if not isinstance(value, bool):
            raise SettingsError(f"{self._where}: {key} has to be true or false.")
        return value

    def part(self, key: str) -> Reader:
        """A mapping in it."""
        return Reader(self._value(key), f"{self._where}: {key}")

    def parts(self, key: str) -> list[Reader]:
        """A list of mappings in it."""
        value = self._value(key)
        if not isinstance(value, list):
            raise SettingsError(f"{self._where}: {key} has to be a list.")
        return [Reader(each, f"{self._where}: {key}[{n}]") for n, each in enumerate(value)]
