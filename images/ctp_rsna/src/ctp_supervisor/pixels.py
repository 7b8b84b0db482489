"""Which objects in quarantine the script holds back for the sake of their pixels.

The script has one rule for them, which looks at what stands in front of the pixel data
(`plugins/module_utils/ctp_pixels`), and one for each element by which an object says so itself. The
same rules, carried out here, tell why an object lies there, and, once its device is declared and
CTP runs with another script, that it may go on.
"""

from __future__ import annotations

from collections.abc import Sequence

from ctp_rules.anonymizer import holds
from ctp_rules.script import TRANSFER_SYNTAX, Call, Script, Text
from pydicom import dcmread

from .quarantine import Quarantined

PIXELS_NOT_DECLARED = "pixels-not-declared"
BURNED_IN_ANNOTATION = "burned-in-annotation"

_DECLARED = 0x7FDEFFF6
_SAID = (0x00280301, 0x00280302)
"""Burned In Annotation and Recognizable Visual Features."""
_MOST_REMEMBERED = 100_000


def _looked_at(text: Text) -> set[int]:
    """The tags of the elements that a script names."""
    found: set[int] = set()
    for part in text.parts:
        if isinstance(part, Call):
            found.update(part.element.tags)
            for clause in part.clauses:
                found |= _looked_at(clause)
    return found


class Pixels:
    """Asks the scripts of the pipelines."""

    def __init__(self, scripts: Sequence[Script]) -> None:
        """``scripts``: of each pipeline, as CTP runs them."""
        self._scripts = scripts
        self._remembered: dict[Quarantined, str] = {}

    def reason(self, each: Quarantined) -> str:
        """Why the script holds an object back; empty where that is not for its pixels."""
        found = self._remembered.get(each)
        if found is None:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            found = self._remembered[each] = self._asked(each)
        return found

    def _asked(self, each: Quarantined) -> str:
        rules = self._scripts[each.pipeline].rules
        asked = [rules[tag] for tag in (_DECLARED, *_SAID) if tag in rules]
        tags = {tag for rule in asked for tag in {rule.tag} | _looked_at(rule.text)}
        try:
            dataset = dcmread(
                each.path,
                stop_before_pixels=True,
                specific_tags=sorted({0x00080005} | tags - {TRANSFER_SYNTAX}),
            )
        except Exception:  # pydicom raises whatever a broken file leads to
            return ""
        if any(holds(rules[tag], dataset) for tag in _SAID if tag in rules):
            return BURNED_IN_ANNOTATION
        if _DECLARED in rules and holds(rules[_DECLARED], dataset):
            return PIXELS_NOT_DECLARED
        return ""
