"""What an anonymizer script holds an object back for, in one word: the same wherever it is asked.

The script is asked, each of its rules that can hold an object back, at every level that it enters;
so what is said here changes with the script and cannot drift from it. CTP itself stops at the first
rule that says so; here all are asked, since the first one need not be what an operator can do
nothing about.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pydicom.dataset import Dataset

from .anonymizer import (
    _DEEPEST,
    _PROCESSED,
    Anonymizer,
    Lookup,
    QuarantineError,
    Refusal,
    _Element,
    _evaluate,
    _Level,
    _with_default_character_set,
)
from .elements import JAVA_BLANK, default_vr
from .encoded import FIRST_OF_PIXELS, Encoded, UnreadableError, root
from .script import ITEMS, Call, Rule, Text

SOP_CLASS_NOT_ACCEPTED = "sop-class-not-accepted"
BURNED_IN_ANNOTATION = "burned-in-annotation"
PIXELS_NOT_DECLARED = "pixels-not-declared"
PIXELS_NOT_BLANKED = "pixels-not-blanked"
REFUSED_BY_PROFILE = "refused-by-profile"
INCOMPLETE = "incomplete"
UNREADABLE = "unreadable"
AMBIGUOUS_PATIENT_ID = "ambiguous-patient-id"
MISSING_PATIENT_ID = "missing-patient-id"
UNKNOWN_PATIENT = "unknown-patient"

MARK = 0x7FDEFFF0
"""The supervisor's mark of what would not be whole."""
PIXELS = 0x7FDEFFFE
"""The script's rule of what may show a name in its pixels, at an element that there is not."""
BLANKED = 0x7FDEFFEE
"""The script's rule of what is declared to be blanked and cannot be, likewise."""

_PATIENT_ID = 0x00100020
_WHOSE = frozenset({0x00100010, _PATIENT_ID})
"""Their rules look up whose an object is."""
_NAMED = {
    **dict.fromkeys(_WHOSE, AMBIGUOUS_PATIENT_ID),
    0x00080016: SOP_CLASS_NOT_ACCEPTED,
    0x00280301: BURNED_IN_ANNOTATION,
    0x00280302: BURNED_IN_ANNOTATION,
    PIXELS: PIXELS_NOT_DECLARED,
    BLANKED: PIXELS_NOT_BLANKED,
    MARK: INCOMPLETE,
}
"""What is said of an element, whatever its rule is."""
_UNNAMED = _WHOSE | {PIXELS, BLANKED}
_ORDER = (
    *(MISSING_PATIENT_ID, UNKNOWN_PATIENT, AMBIGUOUS_PATIENT_ID),
    *(SOP_CLASS_NOT_ACCEPTED, BURNED_IN_ANNOTATION, REFUSED_BY_PROFILE, UNREADABLE, INCOMPLETE),
    *(PIXELS_NOT_DECLARED, PIXELS_NOT_BLANKED),
)
"""An object has one reason: whose it is first, then what can be cured the least."""
_MOST_READ = 8 * 1024 * 1024
"""Bytes: a longer value is not looked at."""


class Refused(NamedTuple):
    """Why an object is held back.

    Attributes:
        reason: one of the words above.
        tag: of the element whose rule says so; 0 where nobody knows.
        why: the element by its tag, and what is wrong with it where that is known; no value.
    """

    reason: str
    tag: int
    why: str


_UNREADABLE = Refused(UNREADABLE, 0, "")


class Judge:
    """Says what a script holds objects back for; for one thread at a time."""

    def __init__(self, anonymizer: Anonymizer) -> None:
        self._anonymizer = anonymizer
        rules = anonymizer.script.rules.values()
        self._asked = {
            rule.tag: rule
            for rule in rules
            if (_can_refuse(rule.text) or ITEMS in rule.text.reads)
            and not anonymizer.gone(rule.tag)
        }

    def of_encoded(self, came: Encoded, syntax: str, lookup: Lookup) -> Refused | None:
        """Return what holds an object back, ``None``: nothing that the script says.

        ``came`` ends in front of Pixel Data; ``syntax`` is its transfer syntax. Only the elements
        that a rule looks at are read.
        """
        try:
            level = root(came, syntax)
        except UnreadableError:
            return _UNREADABLE
        except QuarantineError as error:
            return _named(error, None)
        return self._foremost(level, lookup)

    def of_dataset(self, came: Dataset, lookup: Lookup) -> Refused | None:
        """Return the same of a data set as `reading.read` returns it."""
        little = came.original_encoding[1] is not False
        level = _Level(came, None, little)
        if not level.has_own_set:
            level = _Level(_with_default_character_set(came), None, little)
        return self._foremost(level, lookup)

    def _foremost(self, level: _Level, lookup: Lookup) -> Refused | None:
        found = [*self._of_added(level, lookup), *self._walk(level, lookup, 0)]
        return min(found, key=lambda each: _ORDER.index(each.reason), default=None)

    def _of_added(self, level: _Level, lookup: Lookup) -> Iterator[Refused]:
        there = level.sizes()
        for rule in self._asked.values():
            if rule.adds and rule.tag not in there:
                try:
                    _evaluate(rule.text, rule.tag, None, level, lookup, set())
                except QuarantineError as error:
                    yield _named(error, rule)

    def _walk(self, level: _Level, lookup: Lookup, depth: int) -> Iterator[Refused]:
        for tag, size in level.sizes().items():
            rule = self._asked.get(tag)
            if rule is None or size > _MOST_READ or (not depth and tag >= FIRST_OF_PIXELS):
                continue
            is_blank = False
            try:
                element = level.get(tag)
                if element is None:
                    continue
                is_blank = element.raw is not None and not element.raw.strip(b" \0")
                if self._enters(rule, element, level, lookup, depth):
                    for item in level.inside(element):
                        yield from self._walk(item, lookup, depth + 1)
            except UnreadableError:
                yield _UNREADABLE
            except QuarantineError as error:
                yield _named(error, rule, is_blank)

    def _enters(
        self, rule: Rule, element: _Element, level: _Level, lookup: Lookup, depth: int
    ) -> bool:
        if ITEMS not in rule.text.reads or element.vr != "SQ":
            self._anonymizer.decide(rule, element, level, lookup)
            return False
        text = _evaluate(rule.text, rule.tag, element, level, lookup, set()).strip(JAVA_BLANK)
        if "@remove()" in text:
            return False
        if text != _PROCESSED:
            raise QuarantineError(Refusal.BY_SCRIPT, rule.tag)
        if depth >= _DEEPEST:
            raise QuarantineError(Refusal.UNREADABLE, rule.tag)
        return True


def _can_refuse(text: Text) -> bool:
    return any(
        part.name in ("quarantine", "lookup") or any(map(_can_refuse, part.clauses))
        for part in text.parts
        if isinstance(part, Call)
    )


def _named(error: QuarantineError, rule: Rule | None, is_blank: bool = True) -> Refused:
    tag = error.tag
    name = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    if error.refusal is Refusal.NO_KEY:
        return Refused(MISSING_PATIENT_ID, tag, "")
    if error.refusal is Refusal.UNKNOWN_KEY:
        return Refused(UNKNOWN_PATIENT, tag, "")
    if error.refusal is Refusal.UNREADABLE:
        return Refused(UNREADABLE, tag, name)
    if tag == _PATIENT_ID and is_blank:
        return Refused(MISSING_PATIENT_ID, tag, "")
    if tag in _NAMED:
        return Refused(_NAMED[tag], tag, "" if tag in _UNNAMED else name)
    if rule is not None and "@keep()" in rule.source:
        # It stays with another value.
        return Refused(INCOMPLETE, tag, f"wrong-value {name} {default_vr(tag)}")
    return Refused(REFUSED_BY_PROFILE, tag, name)
