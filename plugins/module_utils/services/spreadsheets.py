"""Tell what a spreadsheet, a data frame or a database export made of an identifier.

Such programs take an identifier for a number, a date or nothing at all and write something else,
from which the identifier cannot be had again. No text of this module contains a value.
"""

# ruff: noqa: RUF001 characters that can be taken for others are its subject
from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple


class Mistake(NamedTuple):
    """What became of a value, as the rest of a sentence that begins with the column's name."""

    message: str
    #: Other values of the same shape that are sound make this one sound.
    by_shape: bool = False


_AGAIN = "Take the list from its source again, with the column as text"

_SCIENTIFIC = Mistake(
    "is a number in scientific notation: a spreadsheet took the identifier for a number and cut "
    f"its digits, which are not in this file any more. {_AGAIN}"
)
_FORMULA = Mistake(
    'begins with "=", as a formula of a spreadsheet does. Of ="…", leave only what stands between '
    "the quotation marks"
)
_APOSTROPHE = Mistake(
    "begins with an apostrophe, by which a spreadsheet marks text. Remove the apostrophe"
)
_QUOTED = Mistake("has quotation marks around it that belong to the value. Remove them")
_ERROR = Mistake(
    "is an error of a spreadsheet, such as #N/A, or ##### of a column that is too narrow: the "
    "identifier is not in this file. Correct the formula or widen the column, and save it again"
)
_MISSING = Mistake(
    "is what a program writes where there is nothing, such as NULL, nan or a dash. Fill it in, or "
    "leave it empty"
)
_BOOLEAN = Mistake(
    "is TRUE or FALSE: a program took the identifier for a truth value. Fill in what it was"
)
_DECIMAL = Mistake(
    "is a number with a decimal point and zeros: a program took the identifier for a number, which "
    f"cuts leading zeros too. {_AGAIN} (in pandas: dtype=str)",
    by_shape=True,
)
_THOUSANDS = Mistake(
    "is a number with thousands separators, a currency or a percent sign: a spreadsheet took the "
    f"identifier for a number. {_AGAIN}",
    by_shape=True,
)
_PRECISION = Mistake(
    "has more than 15 digits, and nothing but zeros after the 15th: a spreadsheet keeps 15 digits "
    f"of a number. {_AGAIN}",
    by_shape=True,
)
_DATE = Mistake(
    "is a date or a time: a spreadsheet takes identifiers such as 1-2 or MAR1 for one, and what "
    f"it was is not in this file any more. {_AGAIN}",
    by_shape=True,
)
_MONTH = _DATE._replace(by_shape=False)
_DIGITS = Mistake(
    "has full-width characters or other digits than 0 to 9. Type it anew, with plain digits"
)
_TYPOGRAPHY = Mistake(
    "has a dash or a quotation mark that a word processor put in the place of the typed one. "
    "Type it anew"
)
_SPACE = Mistake(
    "has a no-break space, or another one than the space bar's, inside. Replace it with what the "
    "PACS sends"
)
_DECODED = Mistake(
    "has characters that come of a wrong encoding: the file was saved or opened as something else "
    f'than UTF-8. {_AGAIN}, and save it as "CSV UTF-8"'
)
_DECOMPOSED = Mistake(
    "has accents as characters of their own (Unicode NFD, as macOS writes them), which the PACS "
    "does not send. Convert the file to NFC"
)
_ALPHABETS = Mistake(
    "has Cyrillic or Greek letters that look like the Latin ones around them. Type it anew"
)
_DELIMITER = Mistake(
    "has a semicolon, a tab or a |: delimiters have to be those of the first line, and CTP cannot "
    "look up a |"
)
_COMPONENTS = Mistake(
    "has HL7 components (^^^). Patient ID is the first alone; the issuer has a column of its own"
)
_FOOTER = Mistake("is the line in which a database tells the number of rows. Remove the line")

_NOTHING = re.compile(
    r"[(<\[{]?(?:null|na|none|nil|nan|nat)[)>\]}]?|-nan|#nan|n/a|n\.a\.|undefined|missing|loading\.\.\.|\\n"
    r"|na_character_|pd\.na|(?:system\.)?dbnull|[+-]?inf(?:inity)?|-?1\.#(?:ind|inf|qnan|snan)",
    re.IGNORECASE,
)
# Excel writes them in capitals, in the language that it was installed in.
_TRUTH = re.compile(
    "[Tt]rue|[Ff]alse|TRUE|FALSE|WAHR|FALSCH|VRAI|FAUX|VERDADERO|FALSO|VERO|WAAR|ONWAAR|VERDADEIRO"
    "|SANT|FALSKT|SAND|FALSK|TOSI|EPÄTOSI|PRAWDA|FAŁSZ|IGAZ|HAMIS|PRAVDA|NEPRAVDA|DOĞRU|YANLIŞ"
    "|ИСТИНА|ЛОЖЬ"
)
_ERRORS = re.compile(
    r"#+|#[¡¿]?[^\W\d_].*[!?]|#(?:N/?A|N/?[DV]|NV|I/T|Н/Д|YOK|PUUTTUU|HIÁNYZIK|SAKNAS"
    r"|GETTING_DATA|DIV/0|REF|VALUE|NAME|NUM|NULL|ERROR|SPILL|CALC|FIELD|BUSY)"
    r"|Err:\d{3}|Error 20\d\d",
    re.IGNORECASE,
)
_SCIENTIFIC_NUMBER = re.compile(
    r"[+-]?(?:\d{1,3}[.,]\d+[eE][+-]?\d{1,3}|\d{1,3}[eE]\+\d{1,3}|\d[eE]-\d{2,3}"
    r"|\d{1,3}(?:[.,]\d+)?\s?[x×*·]\s?10\^?[+-]?\d{1,3})"
)
_DECIMAL_NUMBER = re.compile(r"[+-]?\d+[.,]0*")
_THOUSANDS_NUMBER = re.compile(
    r"[+-]?(?:[$€£¥]\s?)?[1-9]\d{0,2}(?:([.,'\u2019\xa0\u202f\u2009])\d{3}(?:\1\d{3})*)(?:[.,]\d+)?"
    r"(?:\s?[€$£%])?"
    r"|[1-9]\d?(?:,\d\d)+,\d{3}(?:\.\d+)?"
    r"|[$€£¥]\s?\d+(?:[.,]\d+)?|\d+(?:[.,]\d+)?\s?[€$£%]"
)
_TIME = (
    r"(?:[01]?\d|2[0-4]):[0-5]\d(?::[0-5]\d(?:[.,]\d+)?)?(?:\s?[AP]\.?M\.?)?(?:Z|[+-]\d\d:?\d\d)?"
)
_ONLY_TIME = re.compile(_TIME, re.IGNORECASE)
_NUMERIC_DATE = re.compile(
    rf"(\d{{1,4}})([./-])\s?(\d{{1,2}})\2\s?(\d{{1,4}})\.?(?:[T\s]\s*{_TIME})?", re.IGNORECASE
)
_EAST_ASIAN_DATE = re.compile(r"\d{4}\s?[年년]\s?\d{1,2}\s?[月월](?:\s?\d{1,2}\s?[日일])?")
_MONTHS = (
    "jan(?:uary?|v|vier|uari)?|j[aä]n(?:ner)?|ene(?:ro)?|gen(?:naio)?"
    "|feb(?:ruary?|er|ruari|braio|rero)?|f[eé]vr?(?:ier|ereiro)?"
    "|mar(?:ch|s|zo|zec|t|ts|ço)?|mär|märz|mrz|mrt|maart|apr(?:il|ile)?|avr(?:il)?|abr(?:il)?"
    "|may|mai|mayo|maio|mag(?:gio)?|mei|maj|jun[ei]?|juin|junio|junho|giu(?:gno)?"
    "|jul[iy]?|juil(?:let)?|julio|julho|lug(?:lio)?|aug(?:ust|ustus|usti)?|ao[uû]t|ago(?:sto)?"
    "|sept?(?:ember|embre|tiembre|iembre)?|set(?:tembre|embro)?|o[ck]t(?:ober|obre|ubre)?|ott(?:obre)?"
    "|out(?:ubro)?|nov(?:ember|embre|iembre|embro)?|de[csz](?:ember|embre|embro)?|déc(?:embre)?"
    "|dic(?:embre|iembre)?"
)
_BETWEEN = r"[\s./,-]{1,3}"
_MONTH_SOMEWHERE = re.compile(_MONTHS, re.IGNORECASE)
_DAY_AND_MONTH = re.compile(
    rf"(?:[^\W\d_]+\.?,?\s+)?\d{{1,2}}{_BETWEEN}(?:de\s)?(?P<month>{_MONTHS})\.?"
    rf"(?P<year>{_BETWEEN}(?:de\s)?(?:\d{{2}}|\d{{4}})(?:[T\s]\s*{_TIME})?)?"
    rf"|\d\d(?P<joined>{_MONTHS})\d{{4}}",
    re.IGNORECASE,
)
_MONTH_AND_YEAR = re.compile(
    rf"(?:[^\W\d_]+\.?,?\s+)?(?P<month>{_MONTHS})\.?{_BETWEEN}(?P<day>\d{{1,2}},?\s+)?"
    r"(?:\d{2}|\d{4})",
    re.IGNORECASE,
)
_ROW_COUNT = re.compile(
    r"\(?\d+ (?:rows?|records?)(?: (?:affected|selected|returned|in set.*))?\)?\.?", re.IGNORECASE
)
#: Dashes, the minus sign, quotation marks and the ellipsis of word processors.
_TYPED_OTHERWISE = frozenset("‐‑‒–—―−…" + "".join(map(chr, range(0x2018, 0x2020))))
_APOSTROPHES = frozenset("'`´\u2018\u2019")
_LATIN_LOOKALIKES = str.maketrans(
    "АВЕКМНОРСТХУІЈЅҮаеорсухіјѕԁһԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧοɑ",
    "ABEKMHOPCTXYIJSYaeopcyxijsdhqwABEZHIKMNOPTYXoa",
)
_ASCII_LETTER = re.compile(r"[A-Za-z]")


def mistake(value: str) -> Mistake | None:
    """Return what became of a value that is not empty, as far as it tells by itself; None: nothing.

    Args:
        value: without blanks around it, no-break spaces included.
    """
    if value.isascii() and value.isdigit():
        return _PRECISION if len(value) > 15 and not value[15:].strip("0") else None
    if value.isascii() and value.isalnum() and value[0].isalpha():
        return _word(value)
    return _word(value) or _number(value) or _characters(value)


def _word(value: str) -> Mistake | None:
    if value.startswith("="):
        return _FORMULA
    if value[0] in _APOSTROPHES:
        return _APOSTROPHE
    if value[0] == value[-1] == '"':
        return _QUOTED
    if value[0] in "#Ee" and _ERRORS.fullmatch(value):
        return _ERROR
    if _NOTHING.fullmatch(value) or not any(map(str.isalnum, value)):
        return _MISSING
    if _TRUTH.fullmatch(value):
        return _BOOLEAN
    if _ROW_COUNT.fullmatch(value):
        return _FOOTER
    return None


def _number(value: str) -> Mistake | None:
    if _SCIENTIFIC_NUMBER.fullmatch(value):
        return _SCIENTIFIC
    if _THOUSANDS_NUMBER.fullmatch(value):
        return _THOUSANDS
    if _DECIMAL_NUMBER.fullmatch(value):
        return _DECIMAL
    if _ONLY_TIME.fullmatch(value) or _EAST_ASIAN_DATE.fullmatch(value) or _is_date(value):
        return _DATE
    return _MONTH if _MONTH_SOMEWHERE.search(value) and _names_month(value) else None


def _is_date(value: str) -> bool:
    match = _NUMERIC_DATE.fullmatch(value)
    if match is None:
        return False
    first, second, third = match.group(1), match.group(3), match.group(4)
    if len(first) == 4:
        return _is_year(first) and len(third) <= 2 and _is_day(second, third)
    if len(first) == 3 or len(third) not in (2, 4):
        return False
    if _is_day(first, second):
        return len(third) == 2 or _is_year(third)
    # Years of two digits may come first.
    return len(first) == len(third) == 2 and _is_day(second, third)


def _is_year(text: str) -> bool:
    return 1900 <= int(text) <= 2099


def _is_day(one: str, other: str) -> bool:
    """Say whether one can be a day and the other a month, in either order."""
    low, high = sorted((int(one), int(other)))
    return 1 <= low <= 12 and high <= 31


def _names_month(value: str) -> bool:
    match = _DAY_AND_MONTH.fullmatch(value)
    if match:
        # Without a year, no program writes the month in capitals.
        return bool(match["joined"] or match["year"]) or not match["month"].isupper()
    match = _MONTH_AND_YEAR.fullmatch(value)
    return match is not None and (bool(match["day"]) or not match["month"].isupper())


def _characters(value: str) -> Mistake | None:
    if "^^^" in value:
        return _COMPONENTS
    if any(each in value for each in ";|\t"):
        return _DELIMITER
    if value.isascii():
        return None
    if any(is_other_space(each) for each in value):
        return _SPACE
    if "\ufffd" in value or _is_misread(value):
        return _DECODED
    if any("\uff01" <= each <= "\uff5e" or _is_other_digit(each) for each in value):
        return _DIGITS
    if not _TYPED_OTHERWISE.isdisjoint(value):
        return _TYPOGRAPHY
    if len(unicodedata.normalize("NFC", value)) < len(value):
        return _DECOMPOSED
    if _ASCII_LETTER.search(value) and value.translate(_LATIN_LOOKALIKES) != value:
        return _ALPHABETS
    return None


def is_other_space(character: str) -> bool:
    """Say whether a character is a space, but not that of the space bar (such as U+00A0)."""
    return character != " " and unicodedata.category(character) == "Zs"


def _is_other_digit(character: str) -> bool:
    return character.isdigit() and not character.isascii()


def _is_misread(value: str) -> bool:
    """Say whether these are bytes of UTF-8 that were read as Windows' or Latin-1 characters."""
    for encoding in ("cp1252", "latin-1"):
        try:
            if value.encode(encoding).decode("utf-8") != value:
                return True
        except UnicodeError:
            continue
    return False


def shape(value: str) -> str:
    """Return the value with 9 for each digit."""
    return re.sub(r"[0-9]", "9", value)


class Column:
    """The values of one column, which tell more together than one by one."""

    def __init__(self, values: Iterable[str]) -> None:
        self._judged = {value: mistake(value) for value in set(values)}
        sound = [value for value, found in self._judged.items() if found is None]
        # 12-34-56 can be no date, so 01-02-03 beside it is none either.
        self._shapes = {shape(each) for each in sound if not _ASCII_LETTER.search(each)}
        self._latin = any(_ASCII_LETTER.search(value) for value in sound)

    def mistake(self, value: str) -> Mistake | None:
        """Return what became of one of the values; None: nothing.

        Raises:
            KeyError: it is none of them.
        """
        found = self._judged[value]
        if found and found.by_shape and shape(value) in self._shapes:
            return None
        if found is None and self._latin and _looks_latin(value):
            return _ALPHABETS
        return found


def _looks_latin(value: str) -> bool:
    return not value.isascii() and value.translate(_LATIN_LOOKALIKES).isascii()


def skeleton(value: str) -> str:
    """Return what all spellings of a value have in common that a person hardly tells apart.

    They differ in case, in the form of accents (NFC, NFD), the width of characters, in blanks or in
    Cyrillic and Greek letters that look like Latin ones.
    """
    if not value.isascii():
        value = unicodedata.normalize("NFKC", value).translate(_LATIN_LOOKALIKES)
        value = unicodedata.normalize("NFKC", value.casefold())
    return " ".join(value.casefold().split())


_FILES = (
    (("PK\x03\x04",), "a workbook (.xlsx, .ods or .numbers), whatever its name says"),
    (("\udcd0\udccf\x11",), "a workbook of old (.xls), whatever its name says"),
    (("%PDF",), "a PDF file"),
    (("{\\rtf",), "an RTF document"),
    (("\x1f\udc8b",), "a compressed file (gzip)"),
    (
        ("<!doctype", "<html", "<table", "<?xml", "<head", "<meta"),
        "HTML or XML, as many exports are",
    ),
)


def other_file(text: str) -> str | None:
    """Return what a file is instead of CSV in UTF-8, as the rest of a sentence; None: it may be.

    Args:
        text: the file's content; bytes that were not UTF-8 as lone surrogates.
    """
    head = text[:400]
    starts = (head.casefold(), head.lstrip().casefold())
    for beginnings, what in _FILES:
        if any(start.startswith(each.casefold()) for start in starts for each in beginnings):
            return (
                f"is {what}, and not CSV. Open it in a spreadsheet, columns as text, and save it "
                'as "CSV UTF-8"'
            )
    nul = head.count("\0") / max(len(head), 1)
    if head.startswith(("\udcff\udcfe", "\udcfe\udcff")) or nul > 0.2:
        what = "UTF-32" if nul > 0.6 else 'UTF-16 (in Excel: "Unicode text")'
        return (
            f'is {what}, not UTF-8. Save it as "CSV UTF-8", or convert it with: '
            f"iconv -f {what[:6]} -t UTF-8"
        )
    return None
