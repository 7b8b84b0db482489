"""What an anonymizer script does with elements, as far as it matters before CTP has them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree

# PatientID and its issuer: whose an object is, is looked up by these.
_WHOSE = (0x00100020, 0x00100021, 0x00100024, 0x00400032)
SOP_CLASS = 0x00080016
_IDENTITY = frozenset({0x00080018, 0x0020000D, 0x0020000E})
"""SOP, study and series instance UID."""


@dataclass(frozen=True)
class Rules:
    """What an anonymizer script does with elements, as far as it matters here."""

    kept: frozenset[int] = frozenset()
    """Those that it may keep, and those by which it looks up whose an object is."""
    forms: Mapping[int, re.Pattern[bytes]] = field(default_factory=dict)
    """Numbers and UIDs without which it delivers no object, and how they may look."""

    def __or__(self, other: Rules) -> Rules:
        return Rules(self.kept | other.kept, {**self.forms, **other.forms})

    def of_class(self, sop_class: str) -> Rules:
        """The same for an object that its sender announces as one of this SOP class: it has to say
        so itself, or nobody knows which of the two its pixels are of. Empty: none is right."""
        form = re.compile(re.escape(sop_class.encode()) + rb"\0*" if sop_class else rb"(?!)")
        return Rules(self.kept, {**self.forms, SOP_CLASS: form})


NO_RULES = Rules()


def rules(script: bytes) -> Rules:
    """Read an anonymizer script. Raises ``ElementTree.ParseError``."""
    root = ElementTree.fromstring(script)
    parameters = {each.get("t"): each.text or "" for each in root if each.tag == "p"}
    kept, forms = set(_WHOSE), {}
    for each in root:
        text = each.text or ""
        if each.tag != "e" or not re.search("@keep|@process|@hashuid|@incrementdate", text):
            continue
        tag = int(each.get("t", "0"), 16)
        kept.add(tag)
        form = re.match(r"@if\(this,matches,@([ID]S)\)\{@keep\(\)\}.*@quarantine", text)
        if form:
            with contextlib.suppress(re.error):
                forms[tag] = re.compile(parameters.get(form[1], "").encode())
        if tag in _IDENTITY and "matches,@UID)" in text and "UID" in parameters:
            # What it makes no UID of, it removes, and Orthanc takes no object without these.
            with contextlib.suppress(re.error):
                forms[tag] = re.compile(parameters["UID"].encode() + rb"\0*")
    return Rules(frozenset(kept), forms)
