"""Marks in a data set: what stands for a name in each element that could hold one."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.proof import ps3_15_e1_1
from ansible_collections.auscat.imaging.plugins.module_utils.proof.names import (
    UID_ROOT,
)

# Who needs pydicom and has none is told by `phantom.PYDICOM_ERROR`.
with contextlib.suppress(ImportError):
    from pydicom.datadict import keyword_for_tag
    from pydicom.dataset import Dataset


DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"

# Of the table, what carries no mark of its own. The rest is every attribute that can hold a text, a
# date, a number or a UID of one's choice; what is newer than its dictionary has no value
# representation there, and can carry none either.
LEFT_OUT = {
    "command and file meta elements": "00001000 00001001 00020003 00041511",
    "UIDs that hold the study together, which are set with it": """
        00080018 00081155 0020000D 0020000E 00200052
    """,
    "to which the proof gives a value of its own": "00100020 00100040",
    "the issuer, by which the patient would be another's": "00100021",
    "coded values, and an age": "00101010 001021C0 00160075 0072005F 04000565 04000600",
    "what says that an image is a capture, which is held back for its pixels": """
        00181010 00181012 00203401
    """,
    "values with a form of their own, for which a gateway may refuse the whole": """
        00420011 0072006D 04000310
    """,
}


def profile_places() -> Iterator[tuple[int, str]]:
    """Give tag and value representation of what is marked of PS3.15, Table E.1-1."""
    left_out = " ".join(LEFT_OUT.values()).split()
    for tag, row in ps3_15_e1_1.attributes().items():
        if row.vr != "-" and tag not in left_out:
            yield int(tag, 16), row.vr


# Free texts that the table does not list and in which people write names nevertheless: beam,
# tolerance table, overlay (60xx) and curve (50xx) descriptions.
UNLISTED_PLACES = {
    "LO": "300A00C2 50002500 60000022 60001500",
    "SH": "300A0043",
}

# Coded procedures and other sequences that the table does not list: an item may hold anything.
UNLISTED_SEQUENCES = "00081032 00321064 00082218 00540220"


class Marker:
    """Hands out marks and remembers where each stands."""

    def __init__(self, token: str, known: bool) -> None:
        self.token = token
        self.texts: dict[int, str] = {}
        self.uids: dict[int, str] = {}
        self._uid_stem = f"{UID_ROOT}{token}{1 if known else 2}"

    def text(self, place: str) -> str:
        """Return a mark of 16 characters, which fits every text, SH, AE and CS included."""
        number = len(self.texts) + 1
        self.texts[number] = place
        return f"Q{self.token}N{number:04d}"

    def uid(self, place: str) -> str:
        """Return a UID that holds the token."""
        number = len(self.uids) + 1
        self.uids[number] = place
        return f"{self._uid_stem}{number:05d}"


@dataclass(frozen=True)
class Moment:
    """The two dates and the time of day of a study."""

    birth: str
    study: str
    time: str


def moment_of(token: str) -> Moment:
    """Return the dates and the time of the study of this token."""
    digest = hashlib.sha256(f"moment {token}".encode()).digest()

    def date(first_year: int, part: bytes) -> str:
        # Neither a first day nor a January: those are what de-identification puts in.
        return f"{first_year + part[0] % 30:04d}{2 + part[1] % 11:02d}{2 + part[2] % 27:02d}"

    fraction = int.from_bytes(digest[9:12], "big") % 900000 + 100000
    time = f"{1 + digest[6] % 22:02d}{1 + digest[7] % 58:02d}{1 + digest[8] % 58:02d}.{fraction}"
    return Moment(birth=date(1931, digest[0:3]), study=date(1961, digest[3:6]), time=time)


@cache
def describe_tag(tag: Any) -> str:
    """Return a tag as ``PatientName (0010,0010)``; a private one without a name."""
    number = int(tag)
    return f"{keyword_for_tag(number)} ({number >> 16:04X},{number & 0xFFFF:04X})".strip()


def even(data: bytes) -> bytes:
    """Return a value padded to an even length (PS3.5 6.2)."""
    return data + b"\0" * (len(data) % 2)


def _hidden_value(vr: str, tag: int, place: str, marker: Marker, moment: Moment) -> Any:
    """Return a value of this value representation that identifies the patient."""
    if vr == "SQ":
        return [_item(place, marker, moment)]
    if vr == "UI":
        return marker.uid(place)
    if vr in {"DS", "IS"}:
        return marker.token if vr == "IS" else f"73.{marker.token}"
    if vr in {"DA", "DT", "TM"}:
        date = moment.birth if tag in {0x00100030, 0x001021D0} else moment.study
        return {"DA": date, "TM": moment.time, "DT": date + moment.time}[vr]
    mark = marker.text(place)
    if vr in {"AE", "CS", "SH"}:
        return mark
    if vr == "OB":
        return even(mark.encode())
    return {"PN": f"Proof^{mark}", "UR": f"http://proof.example/{mark}"}.get(vr, f"Proof {mark}")


def hide(dataset: Dataset, tag: int, vr: str, within: str, marker: Marker, m: Moment) -> None:
    """Put a mark into an element of a data set, whatever it held."""
    place = f"{within}{describe_tag(tag)}"
    dataset.add_new(tag, vr, _hidden_value(vr, tag, place, marker, m))


def hide_private(
    dataset: Dataset, group: int, within: str, marker: Marker, moment: Moment, depth: int = 0
) -> None:
    """Add a block of private elements with a creator (PS3.5 7.8), one of them a sequence."""
    where = f"{within}private group {group:04X}"
    block = dataset.private_block(group, f"PROOF {marker.text(f'{where}, creator')}", create=True)
    for offset, vr in enumerate(("LO", "PN", "SH", "UT", "UI", "OB", "DA", "DS"), start=0x10):
        place = f"{where}, {vr}"
        block.add_new(offset, vr, _hidden_value(vr, 0, place, marker, moment))
    block.add_new(0x20, "UN", even(marker.text(f"{where}, UN").encode()))
    if depth < 1:
        item = Dataset()
        hide(item, 0x00100010, "PN", f"{where}, SQ > ", marker, moment)
        hide_private(item, group, f"{where}, SQ > ", marker, moment, depth + 1)
        block.add_new(0x30, "SQ", [item])


def _item(within: str, marker: Marker, moment: Moment, depth: int = 0) -> Dataset:
    """Return a sequence item with marks in a few elements, private ones and deeper items."""
    item = Dataset()
    item.ReferencedSOPClassUID = DETACHED_STUDY
    for tag, vr in (
        (0x00080022, "DA"),
        (0x00080050, "SH"),
        (0x00080080, "LO"),
        (0x00081155, "UI"),
        (0x00100010, "PN"),
        (0x00100020, "LO"),
        (0x00101040, "LO"),
    ):
        hide(item, tag, vr, f"{within} > ", marker, moment)
    if depth < 2:
        deeper = f"{within} > {describe_tag(0x00081032)}"
        code = _item(deeper, marker, moment, depth + 1)
        code.CodeValue = "PROOF"
        code.CodingSchemeDesignator = "99PROOF"
        code.CodeMeaning = f"Proof {marker.text(f'{deeper} > {describe_tag(0x00080104)}')}"
        item.ProcedureCodeSequence = [code]
    else:
        hide_private(item, 0x0029, f"{within} > ", marker, moment, depth=1)
    return item


def hidden_header(marker: Marker, moment: Moment) -> Dataset:
    """Return the header that every object of the study carries: nothing but marks."""
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    for number, vr in profile_places():
        hide(header, number, vr, "", marker, moment)
    for vr, tags in UNLISTED_PLACES.items():
        for tag in tags.split():
            hide(header, int(tag, 16), vr, "", marker, moment)
    for tag in UNLISTED_SEQUENCES.split():
        hide(header, int(tag, 16), "SQ", "", marker, moment)
    for group in (0x0009, 0x0019, 0x0029, 0x0051, 0x00E1, 0x7FE1):
        hide_private(header, group, "", marker, moment)
    # Each component and component group of a name can leak alone (PS3.5 6.2.1).
    family, given, middle, prefix, suffix, phonetic = (
        marker.text(f"PatientName (0010,0010), {part}")
        for part in ("family", "given", "middle", "prefix", "suffix", "phonetic")
    )
    header.PatientName = (
        f"{family}^{given}^{middle}=\u5c71\u7530^{prefix}^^{suffix}=\u3084\u307e\u3060^{phonetic}"
    )
    for number in (0x00101000, 0x00101090, 0x00081048):
        element = header[number]
        second = f"{describe_tag(number)}, second value"
        more = _hidden_value(str(element.VR), number, second, marker, moment)
        element.value = [element.value, more]
    return header
