"""The expression of CTP's DicomFilter, as far as a safety filter needs it.

::

    expression = term { "+" term }                     or
    term       = factor { "*" factor }                 and
    factor     = "!" factor | "(" expression ")" | "true." | "false." | test
    test       = element "." method "(" '"' text '"' ")"
    element    = keyword | "[" gggg "," eeee "]" | "[" ggggeeee "]"

``// …`` is a comment. CTP takes an element or a method that it does not know for "no", so that a
misspelt one behind a ``!`` passes everything. Here what is not understood is an error, and whoever
asks must let nothing through.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

PATIENT_ID, IDENTITY_REMOVED = Tag("PatientID"), Tag("PatientIdentityRemoved")

_TOKEN = re.compile(
    r"(?P<space>\s+|//[^\n]*)"
    r"|(?P<constant>(?:true|false)\.)"
    r"|(?P<element>\[[0-9a-fA-F]{4},?[0-9a-fA-F]{4}\]|[A-Za-z]\w*)\s*"
    r'\.\s*(?P<method>\w+)\s*\(\s*"(?P<text>[^"]*)"\s*\)'
    r"|(?P<sign>[+*!()])"
)
_METHODS: dict[str, Callable[[str, str], bool]] = {
    "equals": lambda value, text: value == text,
    "equalsIgnoreCase": lambda value, text: value.lower() == text.lower(),
    "contains": lambda value, text: text in value,
    "containsIgnoreCase": lambda value, text: text.lower() in value.lower(),
    "startsWith": lambda value, text: value.startswith(text),
    "startsWithIgnoreCase": lambda value, text: value.lower().startswith(text.lower()),
    "endsWith": lambda value, text: value.endswith(text),
    "endsWithIgnoreCase": lambda value, text: value.lower().endswith(text.lower()),
}

_MOST_TRIALS = 4096

Values = Mapping[BaseTag, str]
Condition = Callable[[Values], bool]


class FilterError(ValueError):
    """The expression is not understood, or would let an identified object through."""


@dataclass
class SafetyFilter:
    """A filter that is known to ask for a pseudonym and for (0012,0062) YES."""

    condition: Condition
    tags: frozenset[BaseTag]
    prefixes: tuple[str, ...]

    def lets_through(self, dataset: Dataset) -> bool:
        """Whether the object may go on."""
        return self.condition({tag: _text(dataset, tag) for tag in self.tags})


def read(path: Path) -> SafetyFilter:
    """The filter in a file. Raises ``FilterError``, also when there is no such file."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise FilterError(f"it cannot be read ({type(error).__name__})") from None


def parse(expression: str) -> SafetyFilter:
    """Understand an expression, and try whether it keeps back what it must.

    Raises ``FilterError`` when it is not understood, asks for no prefix of PatientID, or lets
    through an object whose PatientID has none of the prefixes or that does not say that it is
    de-identified.
    """
    parser = _Parser(expression)
    condition = parser.whole()
    prefixes = tuple(dict.fromkeys(parser.prefixes))
    if not prefixes or "" in prefixes:
        raise FilterError("it does not ask for the prefix of a pseudonym")
    stranger = next(c for c in ("?", "~", "^") if not any(p.startswith(c) for p in prefixes))
    tried = {
        "without a pseudonym": {PATIENT_ID: stranger, IDENTITY_REMOVED: "YES"},
        "without a PatientID": {PATIENT_ID: "", IDENTITY_REMOVED: "YES"},
        "that is not de-identified": {PATIENT_ID: f"{prefixes[0]}1", IDENTITY_REMOVED: ""},
        "that says it is identified": {PATIENT_ID: f"{prefixes[0]}1", IDENTITY_REMOVED: "NO"},
    }
    # Whatever else it asks for, what it names itself must not make up for that.
    others = sorted(parser.texts.keys() - {PATIENT_ID, IDENTITY_REMOVED})
    candidates = [("", *sorted(parser.texts[tag])) for tag in others]
    if math.prod(map(len, candidates)) > _MOST_TRIALS:
        raise FilterError("it has too many conditions to be tried")
    for kind, values in tried.items():
        for given in itertools.product(*candidates):
            if condition({**dict(zip(others, given)), **values}):
                raise FilterError(f"it lets through an object {kind}")
    return SafetyFilter(condition, frozenset(parser.texts), prefixes)


@dataclass
class _Parser:
    expression: str
    texts: dict[BaseTag, set[str]] = field(default_factory=dict)
    prefixes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._tokens: list[re.Match[str]] = []
        position = 0
        while position < len(self.expression):
            match = _TOKEN.match(self.expression, position)
            if match is None:
                raise FilterError(f"it is not understood at character {position + 1}")
            if match["space"] is None:
                self._tokens.append(match)
            position = match.end()

    def whole(self) -> Condition:
        if not self._tokens:
            raise FilterError("it is empty")
        condition = self._any()
        if self._tokens:
            raise FilterError("it goes on behind its end")
        return condition

    def _any(self) -> Condition:
        alternatives = [self._all()]
        while self._takes("+"):
            alternatives.append(self._all())
        return lambda values: any(found(values) for found in alternatives)

    def _all(self) -> Condition:
        conditions = [self._one()]
        while self._takes("*"):
            conditions.append(self._one())
        return lambda values: all(found(values) for found in conditions)

    def _one(self) -> Condition:
        if self._takes("!"):
            negated = self._one()
            return lambda values: not negated(values)
        if self._takes("("):
            inner = self._any()
            if not self._takes(")"):
                raise FilterError("a parenthesis is not closed")
            return inner
        if not self._tokens or self._tokens[0]["sign"]:
            raise FilterError("a condition is missing")
        token = self._tokens.pop(0)
        if token["constant"]:
            constant = token["constant"] == "true."
            return lambda _values: constant
        return self._test(token["element"], token["method"], token["text"])

    def _test(self, element: str, method: str, text: str) -> Condition:
        if element.startswith("["):
            tag = Tag(int(element[1:-1].replace(",", ""), 16))
        else:
            found = tag_for_keyword(element)
            if found is None:
                raise FilterError("it names an element that DICOM does not have")
            tag = Tag(found)
        if method not in _METHODS:
            raise FilterError("it names a method that is not understood")
        compare = _METHODS[method]
        self.texts.setdefault(tag, set()).add(text)
        if tag == PATIENT_ID and method == "startsWith":
            self.prefixes.append(text)
        return lambda values: compare(values[tag], text)

    def _takes(self, sign: str) -> bool:
        if self._tokens and self._tokens[0]["sign"] == sign:
            self._tokens.pop(0)
            return True
        return False


def _text(dataset: Dataset, tag: BaseTag) -> str:
    value = dataset[tag].value if tag in dataset else ""
    if isinstance(value, MultiValue):
        return "\\".join(map(str, value))
    return "" if value is None else str(value)
