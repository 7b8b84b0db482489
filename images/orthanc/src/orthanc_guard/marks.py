"""The marks that a de-identified object carries (PS3.3 C.7.1.1, PS3.15 E.1.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Marks:
    """What an object must carry to be stored. An empty tuple asks for nothing."""

    identity_removed: bool
    """Whether (0012,0062) Patient Identity Removed has to be YES."""
    methods: tuple[str, ...]
    """What (0012,0063) De-identification Method begins with, one of these."""
    codes: tuple[str, ...]
    """What (0012,0064) De-identification Method Code Sequence has to have, each of these (DCM)."""
    prefixes: tuple[str, ...]
    """What PatientID begins with, and PatientName, if it has a value."""

    def missing(self, tags: Mapping[str, Any]) -> str:
        """Return which mark an object lacks, or nothing; never a value of the object.

        Args:
            tags: the object's data set, by keyword, as Orthanc's simplified JSON: texts, and lists
                of such mappings for sequences.
        """
        if self.identity_removed and tags.get("PatientIdentityRemoved") != "YES":
            return "(0012,0062) is not YES"
        if self.methods and not _text(tags, "DeidentificationMethod").startswith(self.methods):
            return "(0012,0063) is not the method of this node"
        items = tags.get("DeidentificationMethodCodeSequence")
        found = {
            item.get("CodeValue")
            for item in (items if isinstance(items, list) else [])
            if item.get("CodingSchemeDesignator") == "DCM"
        }
        if not found.issuperset(self.codes):
            return "(0012,0064) lacks codes of this node's method"
        if self.prefixes:
            if not _text(tags, "PatientID").startswith(self.prefixes):
                return "(0010,0020) is no pseudonym of this node"
            name = _text(tags, "PatientName")
            if name and not name.startswith(self.prefixes):
                return "(0010,0010) is no pseudonym of this node"
        return ""


def _text(tags: Mapping[str, Any], keyword: str) -> str:
    value = tags.get(keyword)
    return value if isinstance(value, str) else ""
