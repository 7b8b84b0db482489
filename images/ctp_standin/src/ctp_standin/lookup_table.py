"""CTP's lookup table, a Java properties file: ``PatientID/<id>|<issuer>=<pseudonym>`` and
``DateShift/<id>=<days>``.

Read as CTP reads it: UTF-8, escapes undone, again at the next object when the modification time is
newer and at least one second old. A table that is not there yet knows nobody; one that goes away
stays known as it was.
"""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path

from ctp_rules.elements import JAVA_BLANK

from .lookup import DATE_SHIFT, PATIENT_ID, OtherIssuerError

LOG = logging.getLogger(__name__)

SETTLED_SECONDS = 1.0
"""A younger table may still be written: CTP leaves it for the next object."""

_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_LINE_END = re.compile(r"\r\n|\r|\n")


class MalformedTableError(ValueError):
    r"""A ``\u`` that no four hexadecimal digits follow. ``entries`` holds what stood before it."""

    def __init__(self, entries: dict[str, str]) -> None:
        super().__init__("malformed escape")
        self.entries = entries


def parse_properties(text: str) -> dict[str, str]:
    """The entries of a Java properties file (java.util.Properties, method load)."""
    entries: dict[str, str] = {}
    lines = iter(_LINE_END.split(text))
    for line in lines:
        line = line.lstrip(" \t\f")
        if not line or line[0] in "#!":
            continue
        while _is_continued(line):
            line = line[:-1] + next(lines, "").lstrip(" \t\f")
        key, value = _divide(line)
        try:
            entries[_unescape(key)] = _unescape(value)
        except ValueError:
            raise MalformedTableError(entries) from None
    return entries


def _is_continued(line: str) -> bool:
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _divide(line: str) -> tuple[str, str]:
    """The key ends at the first of ``=``, ``:`` or white space that no backslash precedes."""
    escaped = False
    for index, character in enumerate(line):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character in "=: \t\f":
            rest = line[index:].lstrip(" \t\f")
            if rest[:1] in ("=", ":"):
                rest = rest[1:].lstrip(" \t\f")
            return line[:index], rest
    return line, ""


def _unescape(text: str) -> str:
    parts = []
    characters = iter(text)
    for character in characters:
        if character != "\\":
            parts.append(character)
            continue
        escaped = next(characters, "")
        if escaped == "u":
            digits = "".join(next(characters, "") for _ in range(4))
            if not re.fullmatch("[0-9a-fA-F]{4}", digits):
                raise ValueError("malformed escape")
            parts.append(chr(int(digits, 16)))
        else:
            parts.append(_ESCAPES.get(escaped, escaped))
    # Java writes what lies beyond its 16 bits as two escapes.
    return "".join(parts).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class TableLookup:
    """``PatientLookup`` in a lookup table. Not thread-safe: it belongs to one worker."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loaded: float | None = None
        self._entries: dict[str, str] = {}

    def pseudonym(self, patient_id: str, issuer: str) -> str | None:
        """See ``PatientLookup``."""
        found = self._entry(PATIENT_ID, f"{_id(patient_id)}|{issuer}")
        if found is None:
            others = f"{PATIENT_ID}/{_id(patient_id)}|"
            if any(each.startswith(others) for each in self._entries):
                raise OtherIssuerError
        return found

    def date_shift(self, patient_id: str, issuer: str) -> str | None:
        """The days that the patient's dates are moved by; the table has them by identifier."""
        return self._entry(DATE_SHIFT, _id(patient_id))

    def _entry(self, kind: str, key: str) -> str | None:
        self._refresh()
        value = self._entries.get(f"{kind}/{key}", "").strip(JAVA_BLANK)
        # "@other/key" refers on to another entry in CTP; the table of this project has none.
        return None if not value or (value.startswith("@") and "/" in value) else value

    def _refresh(self) -> None:
        try:
            modified = self._path.stat().st_mtime
        except OSError:
            return
        if self._loaded is not None and (
            modified <= self._loaded or time.time() - modified < SETTLED_SECONDS
        ):
            return
        try:
            self._entries = parse_properties(self._path.read_text(encoding="utf-8"))
        except MalformedTableError as error:
            LOG.error("The lookup table is malformed after %d entries", len(error.entries))
            self._entries = error.entries
        except (OSError, UnicodeDecodeError) as error:
            LOG.error("The lookup table cannot be read (%s)", type(error).__name__)
            return
        self._loaded = modified
        LOG.info("The lookup table was read: %d entries", len(self._entries))


def _id(patient_id: str) -> str:
    """As stock CTP looks it up: without backslashes, and without what Java trims around it. With a
    no-break space it is another identifier."""
    return patient_id.replace("\\", "").strip(JAVA_BLANK)
