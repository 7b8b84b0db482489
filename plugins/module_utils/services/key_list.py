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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.auscat.imaging.plugins.module_utils.services.spreadsheets import (
    Column,
    is_other_space,
    other_file,
    skeleton,
)

COLUMNS = ("patient_id", "issuer", "pseudonym")

#: What may separate values; the first line tells which does.
DELIMITERS = ",;\t|"
# What DICOM and CTP do not count around a value. A no-break space is a character of it.
_BLANKS = "".join(map(chr, range(33)))

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


def formats_problem(formats: Mapping[str, Any]) -> str | None:
    """Return why `formats` does not say how values look, or None."""
    wrong = ""
    for column, patterns in formats.items():
        if column not in COLUMNS:
            wrong = f"has the key {column!r}"
        elif not isinstance(patterns, (list, tuple)) or not all(
            isinstance(each, str) and each for each in patterns
        ):
            wrong = f"has for {column} {patterns!r}"
        else:
            for pattern in patterns:
                try:
                    re.compile(pattern)
                except re.error as error:
                    wrong = (
                        f"has for {column} {pattern!r}, which is no regular expression ({error})"
                    )
    if not wrong:
        return None
    return (
        f"keydb_formats {wrong}. Accepted: a mapping of {', '.join(COLUMNS)} to lists of regular "
        "expressions (Python's), one of which fits each whole value, for example "
        "{patient_id: ['[0-9]{7}']}. Correct it in the inventory or on the command line."
    )


def new_pseudonym(prefix: str) -> str:
    """Return `prefix` and 80 random bits in capital letters and digits (at most 48 characters)."""
    random = base64.b32encode(secrets.token_bytes(RANDOM_BITS // 8)).translate(_ALPHABET)
    return prefix + random.decode()


def read(
    text: str, prefixes: Sequence[str] = (), formats: Mapping[str, Sequence[str]] | None = None
) -> tuple[list[Key], list[Problem]]:
    """Return the patients of a CSV file, each once, and all that is wrong with the file.

    Args:
        text: the file's content. A byte order mark is dropped; bytes that were not UTF-8 are
            expected as lone surrogates (``errors="surrogateescape"``).
        prefixes: what a pseudonym of the file must begin with, one of them; empty: anything.
        formats: for a column, regular expressions of which one has to fit each whole value. What
            fits is not asked whether a spreadsheet made it.

    The first line names the columns: patient_id, and where wanted issuer and pseudonym, in any
    order and case. Values are separated by commas, semicolons, tabs or ``|``, whichever the first
    line has. ASCII blanks around a value do not count, as they do not in DICOM; a no-break space
    does. Lines without a value, and columns without one at the end, are passed over.
    """
    text = text[1:] if text.startswith("\ufeff") else text
    other = other_file(text)
    if other:
        return [], [Problem(0, "", other)]
    problems: list[Problem] = []
    rows = _rows(text, problems)
    header = next(rows, None)
    if header is None:
        return [], problems or [_nothing()]
    columns = _columns(*header, problems)
    if problems:
        return [], problems

    read_keys = list(_keys(rows, columns, len(header[1]), problems))
    patterns = {
        column: [re.compile(each) for each in each_formats]
        for column, each_formats in (formats or {}).items()
        if each_formats
    }
    judges = {
        column: Column(value.strip() for key in read_keys if (value := getattr(key, column)))
        for column in COLUMNS
    }
    keys: dict[tuple[str, str], Key] = {}
    owners: dict[str, Key] = {}
    spellings: dict[tuple[str, ...], Key] = {}
    for key in read_keys:
        faults = list(_faults(key, prefixes, patterns, judges))
        faults = faults or list(_spellings(key, spellings, patterns))
        problems += faults
        if not faults:
            problems += _merge(key, keys, owners)
    if not keys and not problems:
        problems.append(_nothing())
    problems += _pseudonyms_that_are_identifiers(keys.values(), owners)
    return list(keys.values()), sorted(problems)


def remarks(keys: Iterable[Key]) -> list[str]:
    """Return what is sound and can be meant otherwise, by line."""
    return report(
        Problem(
            key.line,
            column,
            "begins or ends with a no-break space and keeps it: it is known only to a PACS that "
            "sends it, too. If yours does not, delete the pair in KeyDB and load the line anew",
        )
        for key in keys
        for column in COLUMNS
        if (value := getattr(key, column)) and value != value.strip()
    )


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
    lines = text.lstrip().splitlines()
    if not lines:
        return
    # By such a line, Excel is told the delimiter.
    told = re.fullmatch(r'"?sep=([^\w\s"]|\t)"?', lines[0].strip(" "), re.IGNORECASE)
    delimiter = told.group(1) if told else max(DELIMITERS, key=lines[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            values = [_trimmed(value) for value in next(reader)]
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
        if told and values[0].casefold().startswith("sep="):
            told = None
        elif any(values):
            yield line, values


def _trimmed(value: str) -> str:
    """Return a value without blanks around it; one of spaces alone, of whatever kind, is empty."""
    return value.strip(_BLANKS) if value.strip() else ""


def _columns(line: int, names: list[str], problems: list[Problem]) -> list[str]:
    """Return the names of the columns. A wrong name is not repeated: it could be an identifier."""
    columns = [name.strip().lower() for name in names]
    while columns and not columns[-1]:
        columns.pop()
    accepted = f"Accepted: {', '.join(COLUMNS)}"
    for number, name in enumerate(columns, start=1):
        if not name:
            problems.append(
                Problem(
                    line,
                    "",
                    f"column {number} has no name. Remove it (in pandas: to_csv(…, index=False)). "
                    f"{accepted}",
                )
            )
        elif name not in COLUMNS:
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


def _keys(
    rows: Iterable[tuple[int, list[str]]],
    columns: Sequence[str],
    width: int,
    problems: list[Problem],
) -> Iterator[Key]:
    """Yield the patients; ``width``: values of the first line, empty ones at its end included."""
    for line, values in rows:
        while len(columns) < len(values) <= width and not values[-1]:
            values.pop()
        if len(values) != len(columns):
            message = f"has {len(values)} values, the first line names {len(columns)}"
            if len(values) < len(columns):
                message += (
                    ". Excel leaves out empty ones at the end: remove columns without a value, or "
                    "put the delimiters there"
                )
            problems.append(Problem(line, "", message))
        elif [value.lower() for value in values] == columns:
            problems.append(
                Problem(
                    line, "", "names the columns once more. Remove the line: lists put together?"
                )
            )
        else:
            row = dict(zip(columns, values))
            yield Key(line, row["patient_id"], row.get("issuer", ""), row.get("pseudonym", ""))


def _faults(
    key: Key,
    prefixes: Sequence[str],
    patterns: Mapping[str, Sequence[re.Pattern[str]]],
    judges: Mapping[str, Column],
) -> Iterator[Problem]:
    if not key.patient_id:
        yield Problem(key.line, "patient_id", "is empty")
    for column in COLUMNS:
        value: str = getattr(key, column)
        if not value:
            continue
        fits = any(each.fullmatch(value) for each in patterns.get(column, ()))
        made = None if fits else judges[column].mistake(value.strip())
        printable = value.isprintable()
        if not printable and any("\ud800" <= character <= "\udfff" for character in value):
            yield Problem(key.line, column, 'is not UTF-8. Save the file as "CSV UTF-8"')
        elif not printable and any(not (c.isprintable() or is_other_space(c)) for c in value):
            yield Problem(
                key.line,
                column,
                "has a control character or another one that cannot be seen, such as a line feed "
                "or a zero width space",
            )
        elif made:
            sends = "you give" if column == "pseudonym" else "the PACS sends"
            yield Problem(
                key.line,
                column,
                f"{made.message}. If {sends} it like this, say so in keydb_formats",
            )
        elif "\\" in value:
            yield Problem(
                key.line, column, "has a backslash, which separates values in DICOM (PS3.5, 6.2)"
            )
        elif column == "pseudonym" and not value.isascii():
            yield Problem(
                key.line,
                column,
                "has a character outside ASCII; a pseudonym must be valid in every DICOM "
                "character set",
            )
        elif column in patterns and not fits:
            yield Problem(
                key.line,
                column,
                f"fits none of {', '.join(each.pattern for each in patterns[column])} "
                "(keydb_formats): a digit or a leading zero may be lost. Correct one of the two",
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


def _spellings(
    key: Key,
    spellings: dict[tuple[str, ...], Key],
    patterns: Mapping[str, Sequence[re.Pattern[str]]],
) -> Iterator[Problem]:
    """Refuse what a person hardly tells from another value of the file, unless formats say so."""
    if "patient_id" not in patterns:
        patient = (skeleton(key.patient_id), skeleton(key.issuer))
        known = spellings.setdefault(patient, key)
        if (known.patient_id, known.issuer) != (key.patient_id, key.issuer):
            column = "issuer" if known.patient_id == key.patient_id else "patient_id"
            yield Problem(
                key.line,
                column,
                f"is that of line {known.line}, spelled in another way (case, form of accents, "
                "width, kind of blanks or look-alike letters): one patient would get two "
                "pseudonyms. Keep the one that the PACS sends. If it sends both, say so in "
                "keydb_formats",
            )
            return
    if key.pseudonym:
        known = spellings.setdefault((skeleton(key.pseudonym),), key)
        if known.pseudonym != key.pseudonym:
            yield Problem(
                key.line,
                "pseudonym",
                f"differs from that of line {known.line} in case or blanks alone, so people and "
                "programs would take two patients for one. Give one of them another",
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
