"""Which objects in quarantine the script holds back for the sake of their pixels.

The script has one rule for them, which looks at what stands in front of the pixel data
(`plugins/module_utils/ctp_pixels`), and one for each element by which an object says so itself. The
same rules, carried out here, tell why an object lies there, and, once its device is declared and
CTP runs with another script, that it may go on.
"""

from __future__ import annotations

from collections.abc import Sequence

from ctp_rules import reading
from ctp_rules.anonymizer import holds
from ctp_rules.script import Script

from .quarantine import Quarantined

PIXELS_NOT_DECLARED = "pixels-not-declared"
BURNED_IN_ANNOTATION = "burned-in-annotation"

_DECLARED = 0x7FDEFFF6
_SAID = (0x00280301, 0x00280302)
"""Burned In Annotation and Recognizable Visual Features."""
_MOST_REMEMBERED = 100_000


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
        try:
            dataset = reading.read(each.path, pixels=False)
        except Exception:  # pydicom raises whatever a broken file leads to
            return ""
        if any(holds(rules[tag], dataset) for tag in _SAID if tag in rules):
            return BURNED_IN_ANNOTATION
        if _DECLARED in rules and holds(rules[_DECLARED], dataset):
            return PIXELS_NOT_DECLARED
        return ""
