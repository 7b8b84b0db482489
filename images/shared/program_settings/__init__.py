"""How a program is told what it cannot run with, and how it reads a secret."""

from __future__ import annotations

from pathlib import Path


class SettingsError(Exception):
    """Something that the program cannot run with; the text says what, and what to do."""


def read_secret(directory: Path, name: str) -> str:
    """Content of ``directory/name`` without its line end; ``SettingsError`` when there is none."""
    path = directory / name
    try:
        value = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"The secret file {path} cannot be read ({type(error).__name__}). Create the secret"
            f" {name} and mount it there, readable by the user of this process."
        ) from error
    if not value:
        raise SettingsError(f"The secret file {path} is empty. Give the secret {name} a value.")
    return value
