"""Read and judge the CSV of patients that is loaded into KeyDB.

No message of this module contains a value of the file: messages end up in logs, and the file names
patients. A problem is named by line and column only.
"""

from __future__ import annotations

import base64
import csv
import io
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

COLUMNS = ("patient_id", "issuer", "pseudonym")

#: Longest value of DICOM's value representation LO, in characters (PS3.5, section 6.2).
LONGEST = 64

#: 16 characters of 5 bits each.
RANDOM_BITS = 80
# Base32 without the letters and digits that a person confuses (I and 1, O and 0).
_ALPHABET = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
)

_PREFIX = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,31})\Z")


class Problem(NamedTuple):
    """What is wrong at one place of the file."""

    line: int  #: number of the physical line, from 1; 0: the file as a whole
    column: str  #: name of a column; empty: the line as a whole
    message: str


class Key(NamedTuple):
    """One patient of the file."""

    line: int  #: number of the first line that names the patient
    patient_id: str
    issuer: str  #: empty: none
    pseudonym: str  #: empty: one is to be made


def prefix_problem(prefix: str) -> str | None:
    """Return why `prefix` cannot begin a pseudonym, or None."""
    if _PREFIX.match(prefix):
        return None
    return (
        f"keydb_pseudonym_prefix is {prefix!r}. Accepted: 1 to 32 characters out of A-Z, a-z, 0-9, "
        "'.', '_' and '-', the first a letter or a digit, for example ANON-. Correct it in the "
        "inventory or on the command line."
    )


def foreign_prefix_problem(prefix: str, prefixes: Sequence[str]) -> str | None:
    """Return why pseudonyms made with `prefix` would not leave CTP, or None.

    Args:
        prefix: what a pseudonym that is made begins with.
        prefixes: what CTP lets out begins with one of them; empty: anything.
    """
    if not prefixes or prefix.startswith(tuple(prefixes)):
        return None
    return (
        f"keydb_pseudonym_prefix is {prefix!r}. Accepted: what begins with one of "
        f"{', '.join(prefixes)} (ctp_pseudonym_prefixes), because CTP lets no other pseudonym out. "
        "Use one of them, or add it to ctp_pseudonym_prefixes and run site.yml first."
    )


def new_pseudonym(prefix: str) -> str:
    """Return `prefix` and 80 random bits in capital letters and digits (at most 48 characters)."""
    random = base64.b32encode(secrets.token_bytes(RANDOM_BITS // 8)).translate(_ALPHABET)
    return prefix + random.decode()


def read(text: str, prefixes: Sequence[str] = ()) -> tuple[list[Key], list[Problem]]:
    """Return the patients of a CSV file, each once, and all that is wrong with the file.

    Args:
        text: the file's content. A byte order mark is dropped; bytes that were not UTF-8 are
            expected as lone surrogates (``errors="surrogateescape"``).
        prefixes: what a pseudonym of the file must begin with, one of them; empty: anything.

    The first line names the columns: patient_id, and where wanted issuer and pseudonym, in any
    order and case. Values are separated by commas, or by semicolons where the first line has them.
    White space around a value does not count. Empty lines are passed over.
    """
    text = text[1:] if text.startswith("\ufeff") else text
    problems: list[Problem] = []
    rows = _rows(text, problems)
    header = next(rows, None)
    if header is None:
        return [], problems or [_nothing()]
    columns = _columns(*header, problems)
    if problems:
        return [], problems

    keys: dict[tuple[str, str], Key] = {}
    owners: dict[str, Key] = {}
    for line, values in rows:
        if len(values) != len(columns):
            problems.append(
                Problem(line, "", f"has {len(values)} values, the first line names {len(columns)}")
            )
            continue
        row = dict(zip(columns, values))
        key = Key(line, row["patient_id"], row.get("issuer", ""), row.get("pseudonym", ""))
        faults = list(_faults(key, prefixes))
        problems += faults
        if not faults:
            problems += _merge(key, keys, owners)
    if not keys and not problems:
        problems.append(_nothing())
    problems += _pseudonyms_that_are_identifiers(keys.values(), owners)
    return list(keys.values()), sorted(problems)


def report(problems: Iterable[Problem]) -> list[str]:
    """Return the problems as text, equal ones together: ``line 3, 7-9: patient_id is empty``."""
    grouped: dict[tuple[str, str], list[int]] = {}
    for problem in problems:
        grouped.setdefault((problem.column, problem.message), []).append(problem.line)
    texts = []
    for (column, message), lines in sorted(grouped.items(), key=lambda item: min(item[1])):
        place = f"line {_ranges(lines)}" if any(lines) else "the file"
        texts.append(f"{place}: {column} {message}" if column else f"{place}: {message}")
    return texts


def _nothing() -> Problem:
    return Problem(
        0,
        "",
        "names no patient. Accepted: a first line with the names of the columns "
        f"({', '.join(COLUMNS)}; patient_id is needed) and at least one line with a patient",
    )


def _rows(text: str, problems: list[Problem]) -> Iterator[tuple[int, list[str]]]:
    """Yield number of the first physical line and trimmed values of each line that has any."""
    if not text.strip():
        return
    first_line = text.lstrip().splitlines()[0]
    delimiter = ";" if first_line.count(";") > first_line.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            values = [value.strip() for value in next(reader)]
        except StopIteration:
            return
        except csv.Error:
            # The parser's own message may quote the file.
            problems.append(
                Problem(
                    line,
                    "",
                    "is not CSV: a quotation mark that is not closed or stands inside a quoted "
                    "value, a NUL byte, or a value of more than 128 KiB. What follows was not read",
                )
            )
            return
        if values not in ([], [""]):
            yield line, values


def _columns(line: int, names: list[str], problems: list[Problem]) -> list[str]:
    """Return the names of the columns. A wrong name is not repeated: it could be an identifier."""
    columns = [name.lower() for name in names]
    accepted = f"Accepted: {', '.join(COLUMNS)}"
    for number, name in enumerate(columns, start=1):
        if name not in COLUMNS:
            problems.append(
                Problem(line, "", f"the name of column {number} is unknown. {accepted}")
            )
        elif columns.index(name) != number - 1:
            problems.append(Problem(line, "", f"names the column {name} twice"))
    if "patient_id" not in columns:
        problems.append(
            Problem(
                line,
                "",
                f"the column patient_id is missing; the first line must name the "
                f"columns. {accepted}",
            )
        )
    return columns


def _faults(key: Key, prefixes: Sequence[str]) -> Iterator[Problem]:
    if not key.patient_id:
        yield Problem(key.line, "patient_id", "is empty")
    for column in COLUMNS:
        value: str = getattr(key, column)
        if any("\ud800" <= character <= "\udfff" for character in value):
            yield Problem(key.line, column, 'is not UTF-8. Save the file as "CSV UTF-8"')
        elif "\\" in value:
            yield Problem(
                key.line, column, "has a backslash, which separates values in DICOM (PS3.5, 6.2)"
            )
        elif not value.isprintable():
            yield Problem(
                key.line,
                column,
                "has a control character or another one that cannot be seen, such as a line feed "
                "or a no-break space",
            )
        elif column == "pseudonym" and not value.isascii():
            yield Problem(
                key.line,
                column,
                "has a character outside ASCII; a pseudonym must be valid in every DICOM "
                "character set",
            )
        if len(value) > LONGEST:
            yield Problem(
                key.line,
                column,
                f"has more than {LONGEST} characters, the most that DICOM allows "
                "(value representation LO, PS3.5, 6.2)",
            )
    if prefixes and key.pseudonym and not key.pseudonym.startswith(tuple(prefixes)):
        yield Problem(
            key.line,
            "pseudonym",
            f"begins with none of {', '.join(prefixes)} (ctp_pseudonym_prefixes), so CTP would let "
            "nothing of this patient out. Give it one of them, or leave it empty and one is made",
        )


def _merge(key: Key, keys: dict[tuple[str, str], Key], owners: dict[str, Key]) -> Iterator[Problem]:
    """Add `key` to what was read so far, unless it contradicts it."""
    patient = (key.patient_id, key.issuer)
    known = keys.get(patient)
    if known and known.pseudonym and key.pseudonym not in ("", known.pseudonym):
        yield Problem(
            key.line, "pseudonym", f"differs from that of the same patient in line {known.line}"
        )
        return
    if key.pseudonym:
        owner = owners.setdefault(key.pseudonym, key)
        if (owner.patient_id, owner.issuer) != patient:
            yield Problem(key.line, "pseudonym", f"is that of another patient in line {owner.line}")
            return
    if known is None:
        keys[patient] = key
    elif key.pseudonym:
        keys[patient] = known._replace(pseudonym=key.pseudonym)


def _pseudonyms_that_are_identifiers(
    keys: Iterable[Key], owners: dict[str, Key]
) -> Iterator[Problem]:
    for key in keys:
        owner = owners.get(key.patient_id)
        if owner:
            place = "the same line" if owner.line == key.line else f"line {key.line}"
            yield Problem(
                owner.line,
                "pseudonym",
                f"is the patient_id of {place}: it would identify a patient",
            )


def _ranges(numbers: Iterable[int]) -> str:
    """Return ``2, 4-6`` for 2, 4, 5, 6."""
    ranges: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)
