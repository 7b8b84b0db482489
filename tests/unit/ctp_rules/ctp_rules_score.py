"""What is right for each element of an object, and whether it was done: the actions of MIDI-B.

The challenge (Medical Image De-Identification Benchmark, MICCAI 2024; Pei et al., arXiv:2507.23608)
counts ten actions, and so does its validation script (CBIIT/MIDI_validation_script, state of
2025-03-27), from which their meaning is told here in other words. Its own answer key follows
curators; this one follows the standard (PS3.15 Table E.1-1, with the options that are claimed) and
what is known of an input: whom it names, where marks were put, where its pixels show text.
Nothing of it comes from the script that is judged.

Objects are compared as files, read by pydicom, element by element; the interpreter of the script
has no part in it.
"""

from __future__ import annotations

import enum
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from io import BytesIO
from typing import NamedTuple

import pydicom
import pydicom.encaps
from ansible_collections.auscat.imaging.plugins.module_utils.proof import ps3_15_e1_1 as table
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset

Path = tuple[int, ...]
"""Where an element is: its tag, behind tag and item (from 0) of each sequence around it."""

#: Codes of (0012,0064) (PS3.16 CID 7050) and the columns of the table that they stand for.
COLUMNS = {
    "113103": table.GRAPHICS,
    "113104": table.STRUCTURED_CONTENT,
    "113105": table.DESCRIPTORS,
    "113106": table.FULL_DATES,
    "113107": table.MODIFIED_DATES,
    "113108": table.PATIENT_CHARACTERISTICS,
    "113109": table.DEVICE_IDENTITY,
    "113110": table.UIDS,
    "113111": table.SAFE_PRIVATE,
    "113112": table.INSTITUTION_IDENTITY,
}
PATIENT_ID, PATIENT_NAME, PATIENT_AGE = 0x00100020, 0x00100010, 0x00101010
SOP_CLASS, SOP_INSTANCE = 0x00080016, 0x00080018
ROOTS = (SOP_INSTANCE, 0x0020000D, 0x0020000E, 0x00200052)
PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
# What says that and how an object was de-identified is set, whatever it was.
_OURS = frozenset({0x00120062, 0x00120063, 0x00120064, 0x00280303})
_BURNED_IN = 0x00280301
_STANDARD = b"1.2.840.10008."
_BINARY = frozenset(
    ["AT", "FD", "FL", "OB", "OD", "OF", "OL", "OV", "OW", "SL", "SS", "SV", "UL", "UN", "US", "UV"]
)
_NAME_LENGTH = 4
_HIPAA_AGE = 89  # 45 CFR 164.514(b)(2)(i)(C): older ones are no better than a name


class Action(enum.Enum):
    """The ten actions, as the challenge names them."""

    DATE_SHIFTED = "date_shifted"
    PATID_CONSISTENT = "patid_consistent"
    PIXELS_HIDDEN = "pixels_hidden"
    PIXELS_RETAINED = "pixels_retained"
    TAG_RETAINED = "tag_retained"
    TEXT_NOTNULL = "text_notnull"
    TEXT_REMOVED = "text_removed"
    TEXT_RETAINED = "text_retained"
    UID_CHANGED = "uid_changed"
    UID_CONSISTENT = "uid_consistent"


#: Those that an object that does not leave has done; the others it has not.
DONE_BY_HOLDING_BACK = frozenset(
    {Action.DATE_SHIFTED, Action.PIXELS_HIDDEN, Action.TEXT_REMOVED, Action.UID_CHANGED}
)


class Verdict(enum.Enum):
    """What became of an action."""

    RIGHT = "right"
    LOST = "lost"
    """Right, as the challenge counts, though nothing is left, or a dummy."""
    WRONG = "wrong"

    @property
    def counts(self) -> bool:
        """Say whether the challenge counts it."""
        return self is not Verdict.WRONG


class Value(NamedTuple):
    """An element: ``value`` is ``None`` for a sequence."""

    vr: str
    value: bytes | None


class Box(NamedTuple):
    """Columns and rows of an image, from 0, the last of each not included."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class Known:
    """What is known of an input.

    Attributes:
        mark: finds a mark that was put where it stands.
        names: words that name somebody, beside those of the object's own PatientName.
        own: where the object has values of its own; of what else it has, nothing need stay.
            ``None``: everywhere.
        harmless: no descriptor names anybody but by ``names``: cleaning leaves it.
        shows: where the pixels show text that names somebody.
    """

    mark: re.Pattern[bytes] | None = None
    names: frozenset[bytes] = frozenset()
    own: frozenset[Path] | None = None
    harmless: bool = False
    shows: Box | None = None


class Asked(NamedTuple):
    """One action that is right for an element.

    Attributes:
        path: of the element; empty for the pixels.
        action: what is right.
        kind: of the element, for people: why it is right.
        value: what stood there; of `Action.TEXT_REMOVED`, what must not stand there.
        stays: whether something has to stand there.
    """

    path: Path
    action: Action
    kind: str
    value: bytes = b""
    stays: bool = True


def read(content: bytes) -> Dataset:
    """Return the data set of a DICOM file."""
    return pydicom.dcmread(BytesIO(content), force=True)


def walk(dataset: Dataset, where: Path = ()) -> Iterator[tuple[Path, Value]]:
    """Yield each element at every level, sequences before what is in them."""
    # All of a level before anything is decoded: with a sequence, the library decodes others too.
    elements = [(tag, dataset.get_item(tag)) for tag in sorted(dataset.keys())]
    for tag, raw in elements:
        if not tag & 0xFFFF:
            continue  # group lengths are counted anew by whoever writes
        assert raw is not None
        vr = raw.VR
        if vr in (None, "UN") and dictionary_has_tag(tag):
            vr = dictionary_VR(tag).split(" or ")[-1]
        path = (*where, int(tag))
        value = raw.value
        if vr == "SQ":
            yield path, Value("SQ", None)
            for number, item in enumerate(dataset[tag].value or []):
                yield from walk(item, (*path, number))
        elif isinstance(value, bytes) or value is None:
            bare = value or b""
            yield path, Value(vr or "UN", bare if vr in _BINARY else bare.strip(b" \0"))
        else:
            yield path, Value(vr, str(value).encode().strip(b" \0"))


class Opened(NamedTuple):
    """An object and its elements."""

    dataset: Dataset
    elements: dict[Path, Value]


@cache
def opened(content: bytes) -> Opened:
    """Return what came; it is read once, though several sets of options are scored."""
    dataset = read(content)
    return Opened(dataset, dict(walk(dataset)))


def keyword(path: Path) -> str:
    """Return the name of an element for people."""
    tag = path[-1]
    if tag >> 16 & 1:
        return "private"
    return keyword_for_tag(tag) or f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def row_of(tag: int) -> table.Attribute | None:
    """Return the row of Table E.1-1 for an element; the whole of an overlay goes with its data."""
    rows = table.attributes()
    group = tag >> 16
    if group & 1:
        return rows["GGGGEEEE"]
    if group & 0xFF00 == 0x5000:
        return rows["50XXXXXX"]
    if group & 0xFF00 == 0x6000:
        return rows["60XX3000"]
    return rows.get(f"{tag:08X}")


def chosen(row: table.Attribute, columns: frozenset[str]) -> tuple[str, str]:
    """Return the action of a row with some options, and the option that it comes from."""
    for letter in ("C", "K"):
        for column, action in row.options.items():
            if column in columns and action == letter:
                return letter, column
    return row.basic, "Basic Profile"


def key(content: bytes, columns: frozenset[str], known: Known) -> list[Asked]:
    """Return the actions that are right for an object.

    Args:
        content: its file, as it came.
        columns: of Table E.1-1, of the options that are claimed.
        known: what is known of it.
    """
    return list(_Key(opened(content).elements, columns, known).asked())


class _Key:
    def __init__(
        self, elements: Mapping[Path, Value], columns: frozenset[str], known: Known
    ) -> None:
        self._columns = columns
        self._known = known
        self._elements = elements
        name = self._elements.get((PATIENT_NAME,))
        words = re.split(rb"[\^=\s,]+", (name and name.value) or b"")
        own = {word.lower() for word in words if len(word) >= _NAME_LENGTH}
        self._names = own | {each.lower() for each in known.names}
        # Of each sequence: the action by which it goes, and all in it; whether it may go.
        self._goes: dict[Path, str] = {}
        self._may_go: dict[Path, bool] = {}

    def asked(self) -> Iterator[Asked]:
        for path, element in self._elements.items():
            goes = self._goes.get(path[:-2], "")
            if path[-1] in _OURS or (path[-1] in PIXELS and len(path) == 1):
                continue
            yield from self._of(path, element, goes)
        yield from self._pixels()

    def _pixels(self) -> Iterator[Asked]:
        if not any((tag,) in self._elements for tag in PIXELS):
            return
        if self._known.shows:
            yield Asked((), Action.PIXELS_HIDDEN, "text in the pixels")
        else:
            yield Asked((), Action.PIXELS_RETAINED, "pixels")

    def _of(self, path: Path, element: Value, goes: str) -> Iterator[Asked]:
        tag = path[-1]
        row = row_of(tag)
        letter, column = chosen(row, self._columns) if row else ("", "")
        kind = f"{letter}, {column}" if row else f"no row, {_form(element.vr)}"
        if element.value is None:
            replaces = letter == "X/Z/U*"
            leaves = letter not in ("", "K", "C") and not replaces
            self._goes[path] = goes or (letter if leaves else "")
            self._may_go[path] = replaces or self._may_go.get(path[:-2], False)
            if self._has_to_stay(path, goes) and (not (leaves or replaces) or letter == "D"):
                yield Asked(path, Action.TAG_RETAINED, kind)
            return
        value = element.value
        if path == (PATIENT_ID,):
            yield Asked(path, Action.PATID_CONSISTENT, kind, value)
        elif element.vr == "UI" and (letter == "U" or goes):
            if value and not value.startswith(_STANDARD):
                stays = self._has_to_stay(path, goes)
                yield Asked(path, Action.UID_CHANGED, kind, value, stays)
                yield Asked(path, Action.UID_CONSISTENT, kind, value, stays)
        elif goes:
            # What an option keeps may stand in items that are dummies.
            if value and not (goes == "D" and letter in ("K", "C")):
                yield Asked(path, Action.TEXT_REMOVED, f"in a sequence that goes, {kind}", value)
        elif row and letter not in ("K", "C"):
            yield from self._replaced(path, letter, kind, value)
        elif self._names_somebody(tag, element, letter == "K"):
            yield Asked(path, Action.TEXT_REMOVED, f"names somebody, {kind}", value)
        elif letter == "C" and column == table.MODIFIED_DATES:
            yield from self._moved(path, element, kind)
        elif self._has_to_stay(path, goes) and not (tag == _BURNED_IN and self._known.shows):
            if not value:
                yield Asked(path, Action.TAG_RETAINED, kind)
            elif letter == "C" and not self._known.harmless:
                yield Asked(path, Action.TEXT_NOTNULL, kind, value)
            else:
                yield Asked(path, Action.TEXT_RETAINED, kind, value)

    def _replaced(self, path: Path, letter: str, kind: str, value: bytes) -> Iterator[Asked]:
        """What Z, D and X, and those that depend on the attribute's type, come to (PS3.15 E.3)."""
        if value:
            yield Asked(path, Action.TEXT_REMOVED, kind, value)
        if self._has_to_stay(path, ""):
            if letter in ("Z", "Z/D"):
                yield Asked(path, Action.TAG_RETAINED, kind)
            elif letter == "D" and value:
                yield Asked(path, Action.TEXT_NOTNULL, kind)

    def _moved(self, path: Path, element: Value, kind: str) -> Iterator[Asked]:
        value = element.value or b""
        if element.vr in ("DA", "DT") and shifted(value, 1) is not None:
            yield Asked(path, Action.DATE_SHIFTED, kind, value, self._has_to_stay(path, ""))
        elif self._has_to_stay(path, ""):
            yield Asked(path, Action.TAG_RETAINED, kind)

    def _has_to_stay(self, path: Path, goes: str) -> bool:
        if goes or self._may_go.get(path[:-2], False):
            return False
        return self._known.own is None or path in self._known.own

    def _names_somebody(self, tag: int, element: Value, is_kept: bool) -> bool:
        value = element.value or b""
        mark = self._known.mark
        if mark and not is_kept and mark.search(value) and element.vr not in ("DS", "IS"):
            return True
        if tag == PATIENT_AGE:
            years = re.fullmatch(rb"([0-9]{3})Y", value)
            return bool(years and int(years[1]) > _HIPAA_AGE)
        words = {each.lower() for each in re.split(rb"[^\w]+", value)}
        return bool(words & self._names)


_FORMS = {
    "SQ": "sequence",
    "CS": "coded string",
    "UI": "UID",
    **dict.fromkeys(("DA", "TM", "DT", "AS"), "date or time"),
    **dict.fromkeys(("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"), "text"),
    **dict.fromkeys(("DS", "IS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT"), "number"),
}


def _form(vr: str) -> str:
    return _FORMS.get(vr, "bytes")


def shifted(value: bytes, days: int) -> bytes | None:
    """Return dates (DA, or the day of a DT) moved by some days; ``None`` where one is no date."""
    found = []
    for each in value.split(b"\\"):
        digits = re.match(rb"([0-9]{4})([0-9]{2})([0-9]{2})", each.strip())
        try:
            assert digits
            moved = date(*map(int, digits.groups())) + timedelta(days)
        except (AssertionError, ValueError, OverflowError):
            return None
        found.append(f"{moved:%Y%m%d}".encode() + each.strip()[8:])
    return b"\\".join(found)


@dataclass
class Crosswalk:
    """What became of the identifiers of all objects that one run de-identified.

    Attributes:
        pseudonym: what the PatientID has to be.
        days: by which the patient's dates have to be moved.
        uids: the old UIDs and the new ones.
    """

    pseudonym: bytes
    days: int
    uids: dict[bytes, bytes] = field(default_factory=dict)
    _taken: dict[bytes, bytes] = field(default_factory=dict)

    def learn(self, before: Mapping[Path, Value], after: Mapping[Path, Value]) -> None:
        """Take the UIDs by which an object, its study, series and frame are known."""
        for tag in ROOTS:
            old, new = before.get((tag,)), after.get((tag,))
            if old and new and old.value and new.value:
                self.agrees(old.value, new.value)

    def agrees(self, old: bytes, new: bytes) -> bool:
        """Say whether a UID became what it became before, and nothing else became that."""
        return self.uids.setdefault(old, new) == new and self._taken.setdefault(new, old) == old


def judge(asked: Asked, after: Mapping[Path, Value], crosswalk: Crosswalk) -> Verdict:
    """Say what became of an action that concerns an element, by what left."""
    found = after.get(asked.path)
    action = asked.action
    if action is Action.TAG_RETAINED:
        return _right(found is not None)
    now = found.value if found else None
    if action is Action.TEXT_NOTNULL:
        return _right(bool(now))
    if action is Action.TEXT_RETAINED:
        return _right(now is not None and _same(asked.value, now))
    if action is Action.TEXT_REMOVED:
        return _right(now is None or not _holds(asked.value, now))
    if action is Action.PATID_CONSISTENT:
        return _right(now == crosswalk.pseudonym)
    if not now:
        return Verdict.LOST if asked.stays else Verdict.RIGHT
    if action is Action.DATE_SHIFTED:
        if now == shifted(asked.value, crosswalk.days):
            return Verdict.RIGHT
        return Verdict.WRONG if _holds(asked.value, now) else Verdict.LOST
    pairs = list(zip(asked.value.split(b"\\"), now.split(b"\\")))
    if action is Action.UID_CHANGED:
        return _right(not any(old and old in now.split(b"\\") for old, _ in pairs))
    assert action is Action.UID_CONSISTENT
    return _right(
        asked.value.count(b"\\") == now.count(b"\\")
        and all(crosswalk.agrees(old, new) for old, new in pairs)
    )


def _right(is_so: bool) -> Verdict:
    return Verdict.RIGHT if is_so else Verdict.WRONG


def _number(value: bytes) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _same(before: bytes, now: bytes) -> bool:
    if before == now:
        return True
    old, new = before.split(b"\\"), now.split(b"\\")
    return len(old) == len(new) and all(
        a.strip() == b.strip() or (_number(a) is not None and _number(a) == _number(b))
        for a, b in zip(old, new)
    )


def _holds(before: bytes, now: bytes) -> bool:
    """Short values are the same by chance in a longer one."""
    return _same(before, now) or (len(before) >= _NAME_LENGTH and before in now)


def judge_pixels(asked: Asked, before: Dataset, after: Dataset, shows: Box | None) -> Verdict:
    """Say what became of the pixels."""
    if asked.action is Action.PIXELS_RETAINED:
        return _right(image(before) == image(after) != b"")
    assert shows
    return _right(_is_blank(after, shows))


def image(dataset: Dataset) -> bytes:
    """Return the pixels without what can stand beside them.

    Of native pixels, these are bits outside of BitsStored and bytes behind the last frame; of JPEG
    and JPEG 2000, comments and application segments, save Adobe's, which tells the color space.
    """
    element = next((dataset[tag] for tag in PIXELS if tag in dataset), None)
    if element is None or element.value is None:
        return b""
    data = bytes(element.value)
    if element.tag != 0x7FE00010:
        return data
    if element.is_undefined_length:
        # Without the offset table, which counts what is beside the image, too.
        _, *fragments = pydicom.encaps.generate_fragments(data)
        return b"".join(_without_comments(each).rstrip(b"\0") for each in fragments)
    allocated, stored = dataset.get("BitsAllocated", 8), dataset.get("BitsStored", 8)
    length = _length(dataset)
    data = data[:length]
    if allocated not in (8, 16, 32) or stored >= allocated:
        return data
    low = dataset.get("HighBit", stored - 1) + 1 - stored
    mask = (((1 << stored) - 1) << low).to_bytes(allocated // 8, "little")
    masks = mask * (len(data) // len(mask))
    number = int.from_bytes(data[: len(masks)], "little") & int.from_bytes(masks, "little")
    return number.to_bytes(len(masks), "little")


def _length(dataset: Dataset) -> int:
    bits = (
        int(dataset.get("Rows", 0))
        * int(dataset.get("Columns", 0))
        * int(dataset.get("SamplesPerPixel", 1))
        * int(dataset.get("NumberOfFrames", None) or 1)
        * int(dataset.get("BitsAllocated", 8))
    )
    return (bits + 7) // 8


def _without_comments(fragment: bytes) -> bytes:
    """Return a fragment without COM and APPn of JPEG (10918-1), or COM of JPEG 2000 (15444-1)."""
    comments = {0xFE, *range(0xE0, 0xEE), 0xEF} if fragment[:2] == b"\xff\xd8" else {0x64}
    if fragment[:2] not in (b"\xff\xd8", b"\xff\x4f"):
        return fragment
    kept, place = [fragment[:2]], 2
    while place + 4 <= len(fragment) and fragment[place] == 0xFF:
        marker, length = fragment[place + 1], struct.unpack_from(">H", fragment, place + 2)[0]
        if marker in (0xDA, 0x90):
            break  # the image begins
        if marker not in comments:
            kept.append(fragment[place : place + 2 + length])
        place += 2 + length
    return b"".join([*kept, fragment[place:]])


def _is_blank(dataset: Dataset, box: Box) -> bool:
    """Say whether each row in the box is one color; what is still compressed was not blanked."""
    element = dataset.get(0x7FE00010)
    if element is None:
        return True
    allocated, colors = dataset.get("BitsAllocated", 8), dataset.get("SamplesPerPixel", 1)
    if element.is_undefined_length or (colors > 1 and dataset.get("PlanarConfiguration", 0)):
        return False
    pixel = allocated // 8 * colors
    row = pixel * int(dataset.Columns)
    data = bytes(element.value)
    frame = row * int(dataset.Rows)
    seen = {
        data[start : start + pixel]
        for begin in range(0, len(data) - frame + 1, frame)
        for line in range(box.top, box.bottom)
        for start in range(
            begin + line * row + box.left * pixel, begin + line * row + box.right * pixel, pixel
        )
    }
    return len(seen) == 1


def score(
    content: bytes, left: bytes, columns: frozenset[str], known: Known, crosswalk: Crosswalk
) -> list[tuple[Asked, Verdict]]:
    """Return each action that is right for an object, and what became of it.

    Args:
        content: the object's file, as it came.
        left: as it left; empty where it was held back.
        columns: as for `key`.
        known: as for `key`.
        crosswalk: of the run; it has to have learned of all objects.
    """
    asked = key(content, columns, known)
    if not left:
        return [(each, _right(each.action in DONE_BY_HOLDING_BACK)) for each in asked]
    before, after = opened(content).dataset, read(left)
    elements = dict(walk(after))
    return [
        (
            each,
            judge(each, elements, crosswalk)
            if each.path
            else judge_pixels(each, before, after, known.shows),
        )
        for each in asked
    ]
