"""An anonymizer script, carried out: what CTP's ``DICOMAnonymizer`` does with one object.

The order is CTP's. First the elements that the script adds where they are missing; then, in the
order of tags and at every level that a script enters, each element that came in:

1. private, or not listed, and the script removes such: it goes (groups 0028 and 7FE0, SOP Class
   UID, SOP Instance UID and Study Instance UID stay untold);
2. an overlay, and the script removes those: it goes, listed or not;
3. listed: its script gives a text. ``@remove()`` anywhere in it, and it goes; ``@keep()``, and it
   stays; otherwise the text is written into the element, in the representation that it came in.
   What that cannot hold leaves the *original* value (`Action.LEFT`);
4. otherwise it stays.

Behind Pixel Data (7FE0,0010) scripts are not carried out: what is listed stays as it is, unless its
script begins with ``@remove()``.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from .elements import (
    DEFAULT_CHARACTER_SET,
    JAVA_BLANK,
    CannotHoldError,
    CharacterSet,
    default_vr,
    incremented,
    is_lost,
    raw_of,
    seen_vr,
    text_of,
)
from .expressions import replaced
from .script import (
    CURVES,
    ITEMS,
    LOOKUP,
    OTHERS,
    OVERLAYS,
    PRIVATE_GROUPS,
    TRANSFER_SYNTAX,
    UNSPECIFIED,
    Call,
    Reference,
    Rule,
    Script,
    Text,
)

Path = tuple[int, ...]
"""Where an element is: its tag, behind tag and item (from 0) of each sequence around it."""

Lookup = Callable[[str, str], "str | None"]
"""Kind and key to what the lookup table has for them; ``None`` where it has nothing."""

CHARACTER_SET, PIXEL_DATA = 0x00080005, 0x7FE00010
_PIXEL_REPRESENTATION = 0x00280103
METHOD_CODES = 0x00120064
_END = frozenset({0xFFFAFFFA, 0xFFFCFFFC})
_UNTOLD = frozenset({0x00080016, 0x00080018, 0x0020000D})
_UNTOLD_GROUPS = frozenset({0x0028, 0x7FE0})

_METHOD_MEANINGS = {
    "113100": "Basic Application Confidentiality Profile",
    "113101": "Clean Pixel Data Option",
    "113102": "Clean Recognizable Visual Features Option",
    "113103": "Clean Graphics Option",
    "113104": "Clean Structured Content Option",
    "113105": "Clean Descriptors Option",
    "113106": "Retain Longitudinal Temporal Information Full Dates Option",
    "113107": "Retain Longitudinal Temporal Information Modified Dates Option",
    "113108": "Retain Patient Characteristics Option",
    "113109": "Retain Device Identity Option",
    "113110": "Retain UIDs",
    "113111": "Retain Safe Private Option",
    "113112": "Retain Institution Identity Option",
}
_MOST_REMEMBERED = 20_000
_LONGEST_REMEMBERED = 128
_MOST_BLANKS = 55
_DEEPEST = 64


class Action(enum.Enum):
    """What becomes of an element."""

    KEPT = "kept"
    """It leaves as it came."""
    MAPPED = "mapped"
    """It leaves with the hash of its UID."""
    SHIFTED = "shifted"
    """It leaves with its date moved."""
    EMPTIED = "emptied"
    """It leaves without a value."""
    REPLACED = "replaced"
    """It leaves with another value: a dummy, a pseudonym, a cleaned list."""
    REMOVED = "removed"
    """It does not leave; of a sequence, neither does anything in it, which is not listed then."""
    ADDED = "added"
    """It did not come, and leaves."""
    ENTERED = "entered"
    """A sequence that leaves, with as many items; what is in them is listed by itself."""
    LOST = "lost"
    """It should leave as it came, but CTP cannot hold its value: it leaves without one."""
    LEFT = "left"
    """It leaves as it came because it cannot hold what the script has for it."""


class Outcome(NamedTuple):
    """What becomes of one element.

    Attributes:
        path: where it is, in what came and in what leaves.
        action: what happens to it.
        vr: the representation that it leaves in, as CTP sees it (`elements.seen_vr`).
        value: its encoded value, in the byte order of the object, which may lack the padding;
            ``None`` for what is removed and for sequences.
        items: of a sequence that leaves, how many.
    """

    path: Path
    action: Action
    vr: str
    value: bytes | None
    items: int = 0


@dataclass(frozen=True)
class Result:
    """A new data set in the encoding of the old one, and what became of each element."""

    dataset: Dataset
    outcomes: tuple[Outcome, ...]


class Refusal(enum.Enum):
    """Why an object goes to quarantine."""

    NO_KEY = "the element that is looked up is missing or blank"
    UNKNOWN_KEY = "the lookup table has no such key"
    BY_SCRIPT = "the script says so"
    UNREADABLE = "an element cannot be read"


class QuarantineError(Exception):
    """The object must not leave (`refusals` says of it in one word why).

    Attributes:
        refusal: why.
        tag: of the element whose script said so.
        kind: what was looked up, such as ``PatientID``.
    """

    def __init__(self, refusal: Refusal, tag: int, kind: str = "") -> None:
        of = f" ({kind})" if kind else ""
        super().__init__(f"({tag >> 16:04X},{tag & 0xFFFF:04X}): {refusal.value}{of}")
        self.refusal = refusal
        self.tag = tag
        self.kind = kind


def path_text(path: Path) -> str:
    """Return a path for people: ``(3006,0039)[2]/(3006,0050)``; there is no value in it."""
    parts = []
    for place in range(0, len(path), 2):
        tag = path[place]
        item = f"[{path[place + 1]}]" if place + 1 < len(path) else ""
        parts.append(f"({tag >> 16:04X},{tag & 0xFFFF:04X}){item}")
    return "/".join(parts)


class Anonymizer:
    """A script, ready for any number of objects; for one thread at a time.

    What a script makes of a value that it looks at alone is remembered, so that the elements that
    are alike in all objects of a series cost one search in a dictionary.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self._remembered: dict[tuple[object, ...], _Decision] = {}
        self._gone: dict[int, bool] = {}
        self._added = [rule for _, rule in sorted(script.rules.items()) if rule.adds]

    def gone(self, tag: int) -> bool:
        """Whether an element goes before its script is asked."""
        found = self._gone.get(tag)
        if found is None:
            if len(self._gone) >= _MOST_REMEMBERED:
                self._gone.clear()
            found = self._gone[tag] = _goes(self.script, tag)
        return found

    def run(self, dataset: Dataset, lookup: Lookup) -> Result:
        """Return what leaves and why, as CTP does it; ``dataset`` is not changed.

        It may lack Pixel Data and what is behind it (`reading.read`): the rest comes out the same.

        Raises:
            QuarantineError: the script, or something in the object, keeps it back.
        """
        walk = _Walk(self, lookup)
        return Result(walk.root(dataset), tuple(walk.outcomes))

    def decide(self, rule: Rule, element: _Element, level: _Level, lookup: Lookup) -> _Decision:
        """Return what a rule makes of an element that is there."""
        reads = rule.text.reads
        if OTHERS in reads or LOOKUP in reads or ITEMS in reads or element.raw is None:
            return _decision(rule, element, level, lookup)
        if len(element.raw) > _LONGEST_REMEMBERED:
            return _decision(rule, element, level, lookup)
        characters = level.characters
        key = (
            *(rule.tag, element.vr, element.raw, level.parent is None, element.little),
            *(characters.codec, characters.extended, level.writes_text),
        )
        found = self._remembered.get(key)
        if found is None:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            found = self._remembered[key] = _decision(rule, element, level, lookup)
        return found


class _Decision(NamedTuple):
    action: Action
    vr: str = ""
    value: bytes | None = None


class _Element(NamedTuple):
    """An element that came: ``raw`` is ``None`` for a sequence or for fragments."""

    tag: int
    vr: str
    raw: bytes | None
    little: bool
    original: RawDataElement | DataElement
    is_lost: bool = False


@dataclass
class _Level:
    """A data set that came, at the root or in an item, and what its script has to know of it."""

    source: Dataset
    parent: _Level | None
    little: bool
    characters: CharacterSet = field(init=False)
    has_own_set: bool = field(init=False, default=False)
    writes_text: bool = field(init=False, default=True)

    def __post_init__(self) -> None:
        element = self.get(CHARACTER_SET)
        named = None
        if element is not None and element.raw is not None and element.vr != "SQ":
            shown = text_of(element.vr, element.raw, self.little, _ASCII)
            named = CharacterSet.named(shown.split("\\") if shown else [])
        self.has_own_set = named is not None
        default = self.parent.characters if self.parent else _LATIN
        self.characters = named or default

    def get(self, tag: int) -> _Element | None:
        """Return an element of this data set.

        Raises:
            QuarantineError: it is there, and cannot be read.
        """
        if tag == TRANSFER_SYNTAX:
            return self._syntax()
        item = self.source.get_item(Tag(tag), keep_deferred=True)
        try:
            return None if item is None else _seen(tag, item, self)
        except QuarantineError:
            raise
        except Exception:
            raise QuarantineError(Refusal.UNREADABLE, tag) from None

    def sizes(self) -> dict[int, int]:
        """Return how many bytes each element has as its value; 0 for sequences."""
        return {int(tag): _size(item) for tag, item in self.source._dict.items()}

    def inside(self, element: _Element) -> Iterator[_Level]:
        """Each item of a sequence."""
        return (_Level(item, self, self.little) for item in _items(element))

    def _syntax(self) -> _Element | None:
        """Return Transfer Syntax UID, where there is a file to tell it."""
        meta = getattr(self.source, "file_meta", None)
        uid = str(meta.get("TransferSyntaxUID") or "") if meta is not None else ""
        if not uid:
            return None
        raw = uid.encode("ascii", "replace")
        stored = RawDataElement(Tag(TRANSFER_SYNTAX), "UI", len(raw), raw, 0, False, True)
        return _Element(TRANSFER_SYNTAX, "UI", raw, self.little, stored)

    def text(self, reference: Reference, element: _Element | None) -> str:
        """Return the text of an element; empty where it is missing or has none."""
        level = self
        if reference.tags:
            if reference.from_root:
                while level.parent is not None:
                    level = level.parent
            for place, tag in enumerate(reference.tags):
                element = level.get(tag)
                if element is None:
                    return ""
                if place + 1 < len(reference.tags):
                    items = _items(element)
                    if not items:
                        return ""
                    level = _Level(items[0], level, level.little)
        if element is None or element.raw is None:
            return ""
        return text_of(element.vr, element.raw, element.little, level.characters)


_ASCII = CharacterSet("ascii", False)
_LATIN = CharacterSet("iso8859_1", False)


def _seen(tag: int, item: RawDataElement | DataElement, level: _Level) -> _Element:
    if isinstance(item, RawDataElement):
        vr = seen_vr(tag, item.VR)
        fragments = item.length == 0xFFFFFFFF
        if not fragments and len(item.value or b"") != item.length:
            # The file ends within it.
            raise QuarantineError(Refusal.UNREADABLE, tag)
        if vr == "SQ":
            # Reading the items, however deep, is the parser's; they stay undecoded.
            converted = level.source[Tag(tag)]
            if item.VR not in ("SQ", None) or not isinstance(converted.value, Sequence):
                raise QuarantineError(Refusal.UNREADABLE, tag)
            return _Element(tag, vr, None, level.little, converted)
        raw = None if fragments else item.value or b""
        if raw is not None and is_lost(vr, raw):
            empty = item._replace(length=0, value=b"")
            return _Element(tag, vr, b"", level.little, empty, is_lost=True)
        return _Element(tag, vr, raw, level.little, item)
    if item.VR == "SQ":
        return _Element(tag, "SQ", None, level.little, item)
    return _Element(tag, seen_vr(tag, item.VR), _encoded(item, level), level.little, item)


def _encoded(element: DataElement, level: _Level) -> bytes:
    """Return the value of an element that was decoded, or was never encoded."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = True, level.little
    write_data_element(buffer, element, level.source._character_set)
    return buffer.getvalue()[8:]


def _size(item: RawDataElement | DataElement) -> int:
    if not isinstance(item, RawDataElement) or item.length == 0xFFFFFFFF:
        return 0
    return 0 if seen_vr(int(item.tag), item.VR) == "SQ" else item.length


def _items(element: _Element) -> list[Dataset]:
    if element.vr != "SQ" or not isinstance(element.original, DataElement):
        return []
    return list(element.original.value or ())


class _Walk:
    """One object on its way through the script."""

    def __init__(self, anonymizer: Anonymizer, lookup: Lookup) -> None:
        self.outcomes: list[Outcome] = []
        self._anonymizer = anonymizer
        self._script = anonymizer.script
        self._lookup = lookup
        self._implicit = False

    def root(self, source: Dataset) -> Dataset:
        implicit, little = source.original_encoding
        self._implicit = bool(implicit)
        level = _Level(source, None, little is not False)
        if not level.has_own_set:
            source = _with_default_character_set(source)
            level = _Level(source, None, level.little)
        result = _empty_like(source)
        self._add_missing(level, result)
        self._level(level, result, ())
        return _settled(result)

    def _add_missing(self, level: _Level, result: Dataset) -> None:
        for rule in self._anonymizer._added:
            if Tag(rule.tag) in level.source:
                continue
            vr = default_vr(rule.tag)
            if rule.tag == METHOD_CODES:
                self._method_codes(rule, level, result, (), None)
            elif vr != "SQ":
                used: set[str] = set()
                text = _evaluate(rule.text, rule.tag, None, level, self._lookup, used)
                if text in ("@keep()", "@remove()"):
                    continue
                if text.startswith("@blank(") or text == "@empty()":
                    text = ""
                vr = "SH" if vr == "UN" else vr
                try:
                    vr, raw = raw_of(rule.tag, vr, text, level.little, level.characters)
                except CannotHoldError:
                    continue
                self._put(result, rule.tag, vr, raw, level.little)
                self.outcomes.append(Outcome((rule.tag,), Action.ADDED, vr, raw))
        codes = self._script.rules.get(METHOD_CODES)
        if codes and not codes.adds and Tag(METHOD_CODES) not in level.source:
            self._method_codes(codes, level, result, (), None)

    def _level(self, level: _Level, result: Dataset, where: Path) -> None:
        if len(where) > 2 * _DEEPEST:
            raise QuarantineError(Refusal.UNREADABLE, where[-2])
        for tag in sorted(level.source.keys()):
            if tag < 0x00080000 or not tag & 0xFFFF:
                continue
            if not where and tag >= PIXEL_DATA:
                if tag in _END:
                    break
                self._behind(level, result, tag)
                continue
            element = level.get(tag)
            if element is not None:
                self._element(level, result, element, (*where, int(tag)))

    def _element(self, level: _Level, result: Dataset, element: _Element, path: Path) -> None:
        rule = self._script.rules.get(element.tag)
        if self._anonymizer.gone(element.tag):
            self.outcomes.append(Outcome(path, Action.REMOVED, element.vr, None))
            if element.tag == CHARACTER_SET:
                level.writes_text = False
            return
        if rule is None:
            self._keep(result, element, path, Action.KEPT)
            return
        if element.tag == METHOD_CODES:
            self._method_codes(rule, level, result, path[:-1], element)
            return
        if ITEMS in rule.text.reads and element.vr == "SQ":
            if self._enters(rule, element, level):
                self._enter(level, result, element, path)
            else:
                self.outcomes.append(Outcome(path, Action.REMOVED, element.vr, None))
            return
        decision = self._anonymizer.decide(rule, element, level, self._lookup)
        if decision.action is Action.REMOVED:
            self.outcomes.append(Outcome(path, Action.REMOVED, element.vr, None))
            if element.tag == CHARACTER_SET:
                level.writes_text = False
        elif decision.value is None:
            self._keep(result, element, path, decision.action)
        else:
            self._put(result, element.tag, decision.vr, decision.value, element.little)
            self.outcomes.append(Outcome(path, decision.action, decision.vr, decision.value))

    def _behind(self, level: _Level, result: Dataset, tag: BaseTag) -> None:
        item = level.source.get_item(tag, keep_deferred=True)
        assert item is not None
        element = _seen(tag, item, level)
        rule = self._script.rules.get(tag)
        goes = (
            (tag >> 16 & 1 and PRIVATE_GROUPS in self._script.removed)
            or (rule is None and UNSPECIFIED in self._script.removed)
            or (rule is not None and rule.source.startswith("@remove()"))
        )
        if tag != PIXEL_DATA and (goes or element.vr == "SQ"):
            self.outcomes.append(Outcome((tag,), Action.REMOVED, element.vr, None))
        else:
            self._keep(result, element, (tag,), Action.KEPT)

    def _enters(self, rule: Rule, element: _Element, level: _Level) -> bool:
        text = _evaluate(rule.text, rule.tag, element, level, self._lookup, set())
        text = text.strip(JAVA_BLANK)
        if "@remove()" in text:
            return False
        if text != _PROCESSED:
            raise QuarantineError(Refusal.BY_SCRIPT, rule.tag)
        return True

    def _enter(self, level: _Level, result: Dataset, element: _Element, path: Path) -> None:
        self.outcomes.append(Outcome(path, Action.ENTERED, "SQ", None, len(_items(element))))
        items = []
        for number, source in enumerate(_items(element)):
            item = _empty_like(source)
            below = _Level(source, level, level.little)
            below.writes_text = below.has_own_set or level.writes_text
            self._level(below, item, (*path, number))
            items.append(_settled(item))
        _place(result, DataElement(Tag(element.tag), "SQ", Sequence(items)))

    def _keep(self, result: Dataset, element: _Element, path: Path, action: Action) -> None:
        if element.is_lost:
            action = Action.LOST
        _place(result, element.original)
        value = element.raw
        if value is None and isinstance(element.original, RawDataElement):
            value = element.original.value
        self.outcomes.append(Outcome(path, action, element.vr, value, len(_items(element))))
        self.outcomes += _inside(element, path, Action.KEPT)

    def _put(self, result: Dataset, tag: int, vr: str, raw: bytes, little: bool) -> None:
        if len(raw) % 2:
            raw += b"\0" if vr in ("UI", "OB", "UN") else b" "
        stored = None if self._implicit else vr
        result[Tag(tag)] = RawDataElement(
            Tag(tag), stored, len(raw), raw, 0, self._implicit, little
        )

    def _method_codes(
        self, rule: Rule, level: _Level, result: Dataset, where: Path, element: _Element | None
    ) -> None:
        path = (*where, METHOD_CODES)
        if rule.source == "@keep()":
            if element is not None:
                self._keep(result, element, path, Action.KEPT)
            return
        if rule.source == "@remove()":
            if element is not None:
                self.outcomes.append(Outcome(path, Action.REMOVED, element.vr, None))
            return
        text = _evaluate(rule.text, rule.tag, element, level, self._lookup, set())
        codes = [code.strip(JAVA_BLANK) for code in text.strip(JAVA_BLANK).split("/")]
        items: list[Dataset] = [] if element is None else _items(element)
        holds_items = element is None or element.vr == "SQ"
        for code in codes:
            if code.lower() == "reset":
                items, holds_items = [], True
                continue
            if not holds_items:
                # CTP cannot add an item to it, and lets it go as it is.
                assert element is not None
                self._keep(result, element, path, Action.LEFT)
                return
            meaning = _METHOD_MEANINGS.get(code)
            item = _empty_like(level.source)
            for tag, vr, value in (
                (0x00080100, "SH", code),
                (0x00080102, "SH", "DCM" if meaning else "UNKNOWN"),
                (0x00080104, "LO", meaning or "UNKNOWN"),
            ):
                self._put(item, tag, vr, value.encode("ascii", "replace"), level.little)
            items.append(_settled(item))
        _place(result, DataElement(Tag(METHOD_CODES), "SQ", Sequence(items)))
        action = Action.ADDED if element is None else Action.REPLACED
        self.outcomes.append(Outcome(path, action, "SQ", None, len(items)))
        self.outcomes += _inside(
            _seen(METHOD_CODES, result[Tag(METHOD_CODES)], level), path, action
        )


def _goes(script: Script, tag: int) -> bool:
    rule = script.rules.get(tag)
    group = tag >> 16
    removed = script.removed
    is_private = bool(group & 1)
    is_overlay, is_curve = group & 0xFF00 == 0x6000, group & 0xFF00 == 0x5000
    if rule is None:
        stays = (
            group in script.kept_groups
            or tag in _UNTOLD
            or group in _UNTOLD_GROUPS
            or (is_overlay and OVERLAYS not in removed)
            or (is_curve and CURVES not in removed)
        )
        if is_private and PRIVATE_GROUPS in removed:
            return group not in script.kept_groups
        if UNSPECIFIED in removed and not stays:
            return True
    return is_overlay and OVERLAYS in removed


_PROCESSED = "@keep()"


def evaluate(rule: Rule, dataset: Dataset, lookup: Lookup) -> str:
    """Return what the rule of one element gives for an object, taken alone.

    Raises:
        QuarantineError: it, or an element that it looks at, keeps the object back.
    """
    level = _Level(dataset, None, dataset.original_encoding[1] is not False)
    return _evaluate(rule.text, rule.tag, level.get(rule.tag), level, lookup, set())


def holds(rule: Rule, dataset: Dataset) -> bool:
    """Tell whether the rule of one element, taken alone, quarantines an object.

    It must not look anything up: then the answer is yes.
    """
    try:
        evaluate(rule, dataset, lambda kind, key: None)
    except QuarantineError:
        return True
    return False


def shown(dataset: Dataset, tag: int) -> str:
    """Return the text of an element at the root as a script would see it; empty without one."""
    level = _Level(dataset, None, dataset.original_encoding[1] is not False)
    return level.text(Reference((tag,)), None)


def flat(dataset: Dataset) -> Iterator[Outcome]:
    """Yield every element of a data set, at every level, as one that is kept.

    Raises:
        Exception: whatever the parser has to say of a sequence that it cannot read.
    """
    little = dataset.original_encoding[1] is not False
    yield from _flat(dataset, little, (), Action.KEPT)


def _flat(dataset: Dataset, little: bool, where: Path, action: Action) -> Iterator[Outcome]:
    level = _Level(dataset, None, little)
    for tag in sorted(dataset.keys()):
        element = level.get(tag)
        if element is None or not tag & 0xFFFF:
            continue
        value = element.raw
        if value is None and isinstance(element.original, RawDataElement):
            value = element.original.value
        path = (*where, int(tag))
        yield Outcome(path, action, element.vr, value, len(_items(element)))
        yield from _inside(element, path, action)


def _inside(element: _Element, path: Path, action: Action) -> Iterator[Outcome]:
    for number, item in enumerate(_items(element)):
        yield from _flat(item, element.little, (*path, number), action)


def _place(result: Dataset, element: RawDataElement | DataElement) -> None:
    """Put an element into a data set.

    Raises:
        QuarantineError: it is a sequence, for whose sake the library reads Pixel Representation,
            and that cannot be read.
    """
    try:
        result[element.tag] = element
    except Exception:
        raise QuarantineError(Refusal.UNREADABLE, _PIXEL_REPRESENTATION) from None


def _empty_like(source: Dataset) -> Dataset:
    """Return a data set into which elements of another can be put without decoding them."""
    result = Dataset()
    implicit, little = source.original_encoding
    result.set_original_encoding(
        bool(implicit), little is not False, source.original_character_set or None
    )
    return result


def _settled(result: Dataset) -> Dataset:
    """Let a data set be written as it is, not decoded and encoded again for its character set."""
    implicit, little = result.original_encoding
    result.set_original_encoding(implicit, little, result._character_set)
    return result


def _with_default_character_set(source: Dataset) -> Dataset:
    copy = _empty_like(source)
    if hasattr(source, "file_meta"):
        copy.file_meta = source.file_meta
    for tag in source._dict:
        item = source.get_item(tag, keep_deferred=True)
        assert item is not None
        copy._dict[tag] = item
    implicit = bool(source.original_encoding[0])
    raw = DEFAULT_CHARACTER_SET.encode()
    tag = Tag(CHARACTER_SET)
    stored = None if implicit else "CS"
    little = source.original_encoding[1] is not False
    copy._dict[tag] = RawDataElement(tag, stored, len(raw), raw, 0, implicit, little)
    return copy


def _decision(rule: Rule, element: _Element, level: _Level, lookup: Lookup) -> _Decision:
    used: set[str] = set()
    text = _evaluate(rule.text, rule.tag, element, level, lookup, used).strip(JAVA_BLANK)
    if "@remove()" in text:
        return _Decision(Action.REMOVED)
    if text == "@keep()":
        return _Decision(Action.KEPT)
    if text.startswith("@blank("):
        count = int("0" + "".join(c for c in text[7:].partition(")")[0] if c.isdigit()))
        text = " " * min(count, _MOST_BLANKS)
    elif text == "@empty()":
        text = ""
    characters = level.characters if level.writes_text else None
    try:
        vr, raw = raw_of(rule.tag, element.vr, text, element.little, characters)
    except CannotHoldError:
        return _Decision(Action.LEFT)
    if not raw.strip(b" "):
        return _Decision(Action.EMPTIED, vr, raw)
    action = Action.REPLACED
    if "hashuid" in used:
        action = Action.MAPPED
    elif "incrementdate" in used:
        action = Action.SHIFTED
    return _Decision(action, vr, raw)


def _evaluate(
    text: Text,
    tag: int,
    element: _Element | None,
    level: _Level,
    lookup: Lookup,
    used: set[str],
) -> str:
    """Return what a script gives; ``used`` gets the functions that had a part in it."""
    found = []
    for part in text.parts:
        if isinstance(part, str):
            found.append(part)
        else:
            used.add(part.name)
            found.append(_FUNCTIONS[part.name](part, tag, element, level, lookup, used))
    return "".join(found)


def _if(
    call: Call, tag: int, element: _Element | None, level: _Level, lookup: Lookup, used: set[str]
) -> str:
    chosen = call.clauses[0 if _is_so(call, element, level) else 1]
    return _evaluate(chosen, tag, element, level, lookup, used)


def _is_so(call: Call, element: _Element | None, level: _Level) -> bool:
    test, asked = call.arguments
    if test == "exists":
        tags = call.element.tags
        return element is not None if not tags else level.get(tags[-1]) is not None
    text = level.text(call.element, element)
    if test == "isblank":
        return not text.strip(JAVA_BLANK)
    if test == "matches":
        assert call.pattern is not None
        return call.pattern.match(text) is not None
    if test == "equals":
        return text.lower() == asked.lower()
    if test == "contains":
        return asked.lower() in text.lower()
    return _number(text) > _number(asked)


def _number(text: str) -> int:
    digits = "".join(c for c in text if c in "0123456789")
    return int(digits) if digits and int(digits) < 2**31 else 0


def _select(
    call: Call, tag: int, element: _Element | None, level: _Level, lookup: Lookup, used: set[str]
) -> str:
    chosen = call.clauses[0 if level.parent is None else 1]
    return _evaluate(chosen, tag, element, level, lookup, used)


def _append(
    call: Call, tag: int, element: _Element | None, level: _Level, lookup: Lookup, used: set[str]
) -> str:
    more = _evaluate(call.clauses[0], tag, element, level, lookup, used)
    if element is None or not element.raw:
        return more
    return f"{level.text(call.element, element)}\\{more}"


def _contents(
    call: Call, tag: int, element: _Element | None, level: _Level, lookup: Lookup, used: set[str]
) -> str:
    text = level.text(call.element, element)
    return text if call.pattern is None else replaced(call.pattern, text, call.arguments[0])


def _lookup(
    call: Call, tag: int, element: _Element | None, level: _Level, lookup: Lookup, used: set[str]
) -> str:
    (kind,) = call.arguments
    key = "|".join(level.text(each, element) for each in (call.element, *call.more))
    return _looked_up(kind, key.replace("\\", ""), tag, lookup)


def _looked_up(kind: str, key: str, tag: int, lookup: Lookup) -> str:
    key = key.strip(JAVA_BLANK)
    found = lookup(kind, key)
    if found is None:
        # The first of what is joined is what identifies.
        first = key.partition("|")[0].strip(JAVA_BLANK)
        raise QuarantineError(Refusal.UNKNOWN_KEY if first else Refusal.NO_KEY, tag, kind)
    return found.strip(JAVA_BLANK)


def _hashuid(
    call: Call, tag: int, element: _Element | None, level: _Level, lookup: Lookup, used: set[str]
) -> str:
    root, key = call.arguments
    if element is None and not call.element.tags:
        return "@remove()"
    text = level.text(call.element, element) + key
    digest = hashlib.md5(text.encode("utf-8", "replace"), usedforsecurity=False).digest()
    number = str(int.from_bytes(digest, "big"))
    return (root + ("9" if number.startswith("0") else "") + number)[:64]


def _incrementdate(
    call: Call, tag: int, element: _Element | None, level: _Level, lookup: Lookup, used: set[str]
) -> str:
    by, kind = call.arguments
    tags = call.element.tags
    if (level.get(tags[-1]) if tags else element) is None:
        return "@remove()"
    text = level.text(call.element, element)
    if len(text) < 8:
        return "@empty()"
    by_whom = Reference((int(by[-8:], 16),), by.startswith("root:"))
    key = level.text(by_whom, None).strip(JAVA_BLANK)
    found = lookup(kind, key)
    try:
        days = int((found or "").strip(JAVA_BLANK))
        values = text.split("\\")
        while values and not values[-1]:
            values.pop()
        return "\\".join(incremented(value, days) for value in values)
    except (ValueError, OverflowError):
        return "@empty()"


def _process(
    call: Call, tag: int, element: _Element | None, level: _Level, lookup: Lookup, used: set[str]
) -> str:
    return _PROCESSED


def _require(
    call: Call, tag: int, element: _Element | None, level: _Level, lookup: Lookup, used: set[str]
) -> str:
    return "@keep()" if element is not None else ""


def _quarantine(
    call: Call, tag: int, element: _Element | None, level: _Level, lookup: Lookup, used: set[str]
) -> str:
    raise QuarantineError(Refusal.BY_SCRIPT, tag)


def _changed(
    call: Call, tag: int, element: _Element | None, level: _Level, lookup: Lookup, used: set[str]
) -> str:
    text = level.text(call.element, element)
    if call.name == "lowercase":
        return text.lower()
    if call.name == "uppercase":
        return text.upper()
    count = int(call.arguments[0])
    return text[:count] if count >= 0 else text.strip(JAVA_BLANK)[count:]


_FUNCTIONS = {
    "if": _if,
    "select": _select,
    "append": _append,
    "contents": _contents,
    "lookup": _lookup,
    "hashuid": _hashuid,
    "incrementdate": _incrementdate,
    "process": _process,
    "require": _require,
    "quarantine": _quarantine,
    "truncate": _changed,
    "lowercase": _changed,
    "uppercase": _changed,
}
