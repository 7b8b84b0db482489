"""What should have become of an object, compared with the one that left, both as they are encoded.

The answer is that of `anonymizer` and `comparison`, but neither object is ever held as a whole: the
two are walked side by side, item by item, in memory that somebody else provides (a buffer, or a
file that is mapped). Only the levels around the element that is looked at are known. So an object
with a million contours costs no more memory than one with ten.

Both are little endian, implicit or explicit; what stands from Pixel Data on is not looked at.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, NamedTuple, Optional, Union

from .anonymizer import (
    _DEEPEST,
    _METHOD_MEANINGS,
    _PROCESSED,
    CHARACTER_SET,
    METHOD_CODES,
    Action,
    Anonymizer,
    Lookup,
    Path,
    QuarantineError,
    Refusal,
    _Element,
    _evaluate,
    _Level,
)
from .comparison import Difference, Kind, bare
from .elements import (
    DEFAULT_CHARACTER_SET,
    JAVA_BLANK,
    CannotHoldError,
    default_vr,
    is_lost,
    raw_of,
    seen_vr,
)
from .names import NUMBER_OF, SEQUENCES, Named
from .script import ITEMS, TRANSFER_SYNTAX, Reference, Rule

# A file that is mapped has no common type with the others.
Buffer = Union[bytes, bytearray, memoryview, Any]

FIRST_OF_PIXELS = 0x7FE00000
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SHORT_NAMES = b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US"
_SHORT = {vr: vr.decode() for vr in _SHORT_NAMES.split()}
_MORE_LEVELS = _DEEPEST + 2
_HEAD = struct.Struct("<HHI")
_EXPLICIT = struct.Struct("<HH2sH")
_LENGTH = struct.Struct("<I")


class Encoded(NamedTuple):
    """A data set as it stands in memory, in one of the two little endian transfer syntaxes."""

    data: Buffer
    implicit: bool


class UnreadableError(ValueError):
    """It is no data set; the text says where it cannot be read, never a value."""


_Place = tuple[Optional[str], int, int, bool]
"""An element: its representation, where there is one; where its value begins and where the next
element does; whether it has no length of its own."""


_NOT_DECODED: Any = None


class _Data(_Level):
    """A data set or an item, as a level that scripts can look at."""

    def __init__(
        self,
        encoded: Encoded,
        start: int = 0,
        end: int | None = None,
        parent: _Data | None = None,
        is_open: bool = False,
        last: int = _UNDEFINED,
    ) -> None:
        """``end``: the end of the data, if not given. ``is_open``: it ends where its delimiter
        says so, at ``end`` at the latest. ``last``: nothing behind this tag is read.

        Raises `UnreadableError`.
        """
        self.encoded = encoded
        self.parent = parent
        self.little = True
        self.has_own_set = False
        self.writes_text = True
        end = len(encoded.data) if end is None else end
        self.doubled: set[int] = set()
        """Elements that came more than once, and not the same: the last one counts, as in CTP."""
        self.places, self.after = _indexed(encoded, start, end, is_open, last, self.doubled)
        self._elements: dict[int, _Element] = {}
        self.__post_init__()

    def get(self, tag: int) -> _Element | None:
        found = self._elements.get(tag)
        if found is None:
            place = self.places.get(tag)
            if place is None:
                return None
            found = self._elements[tag] = self._seen(tag, place)
        return found

    def _seen(self, tag: int, place: _Place) -> _Element:
        name, start, after, undefined = place
        vr = seen_vr(tag, name)
        if vr == "SQ":
            if name not in ("SQ", None):
                raise QuarantineError(Refusal.UNREADABLE, tag)
            return _Element(tag, vr, None, True, _NOT_DECODED)
        if undefined:
            return _Element(tag, vr, None, True, _NOT_DECODED)
        raw = bytes(self.encoded.data[start:after])
        if is_lost(vr, raw):
            return _Element(tag, vr, b"", True, _NOT_DECODED, is_lost=True)
        return _Element(tag, vr, raw, True, _NOT_DECODED)

    def sizes(self) -> dict[int, int]:
        return {
            tag: 0 if undefined or seen_vr(tag, name) == "SQ" else after - start
            for tag, (name, start, after, undefined) in self.places.items()
        }

    def inside(self, element: _Element) -> Iterator[_Level]:
        return self.items(element.tag)

    def put(self, element: _Element) -> None:
        """Have an element as if it had come."""
        self.places[element.tag] = (element.vr, 0, 0, False)
        self._elements[element.tag] = element
        self.__post_init__()

    def fragments(self, tag: int) -> bytes:
        """The encoded items of encapsulated data."""
        _, start, after, _ = self.places[tag]
        return bytes(self.encoded.data[start:after])

    def items(self, tag: int) -> Iterator[_Data]:
        """Each item of a sequence, read when it is asked for."""
        _, position, after, _ = self.places[tag]
        while position + 8 <= after:
            group, element, length = _HEAD.unpack_from(self.encoded.data, position)
            if group << 16 | element != _ITEM:
                return
            position += 8
            end = after if length == _UNDEFINED else position + length
            item = _Data(self.encoded, position, end, self, length == _UNDEFINED)
            yield item
            position = item.after

    def text(self, reference: Reference, element: _Element | None) -> str:
        if len(reference.tags) < 2:
            return super().text(reference, element)
        level: _Data = self
        if reference.from_root:
            while level.parent is not None:
                level = level.parent  # type: ignore[assignment]
        for tag in reference.tags[:-1]:
            found = level.get(tag)
            if found is None or found.vr != "SQ":
                return ""
            first = next(level.items(tag), None)
            if first is None:
                return ""
            level = first
        return super(_Data, level).text(Reference(reference.tags[-1:]), None)


def _indexed(
    encoded: Encoded, start: int, end: int, is_open: bool, last: int, doubled: set[int]
) -> tuple[dict[int, _Place], int]:
    """Return the elements of a data set or an item, as far as a tag, and where it ends."""
    data, implicit = encoded
    places: dict[int, _Place] = {}
    position = start
    while position + 8 <= end:
        group, element, name, short = _EXPLICIT.unpack_from(data, position)
        tag = group << 16 | element
        after = position + 8
        if group == 0xFFFE:
            if tag == _ITEM_END and is_open:
                return places, after
            raise UnreadableError("an item in the place of an element")
        if tag > last:
            return places, position
        if implicit:
            vr = None
            (length,) = _LENGTH.unpack_from(data, position + 4)
        elif name in _SHORT:
            vr, length = _SHORT[name], short
        else:
            if name not in _LONG and not (name.isalpha() and name.isupper()):
                raise UnreadableError(f"{_name(tag)}: no value representation")
            if after + 4 > end:
                raise UnreadableError(f"{_name(tag)}: cut short")
            vr = name.decode("ascii", "replace")
            (length,) = _LENGTH.unpack_from(data, after)
            after += 4
        if length == _UNDEFINED:
            position = _behind_items(encoded, after, end, tag, 0)
        else:
            position = after + length
            if position > end:
                raise UnreadableError(f"{_name(tag)}: longer than what it is in")
        if tag in places:
            _, before, behind, _ = places[tag]
            if data[before:behind] != data[after:position]:
                doubled.add(tag)
        places[tag] = (vr, after, position, length == _UNDEFINED)
    if is_open or position != end:
        raise UnreadableError("it ends in the middle")
    return places, end


def _behind_items(encoded: Encoded, position: int, end: int, tag: int, depth: int) -> int:
    """Return where what follows items without a length of their own begins."""
    if depth > _MORE_LEVELS:
        raise UnreadableError(f"{_name(tag)}: too deep")
    data = encoded.data
    while position + 8 <= end:
        group, element, length = _HEAD.unpack_from(data, position)
        found = group << 16 | element
        position += 8
        if found == _SEQUENCE_END:
            return position
        if found != _ITEM:
            break
        if length == _UNDEFINED:
            position = _behind_item(encoded, position, end, tag, depth + 1)
        else:
            position += length
    raise UnreadableError(f"{_name(tag)}: its items do not end")


def _behind_item(encoded: Encoded, position: int, end: int, tag: int, depth: int) -> int:
    data, implicit = encoded
    while position + 8 <= end:
        group, element, length = _HEAD.unpack_from(data, position)
        position += 8
        if group == 0xFFFE:
            if element == _ITEM_END & 0xFFFF:
                return position
            break
        if not implicit:
            name = bytes(data[position - 4 : position - 2])
            if name not in _SHORT:
                if position + 4 > end:
                    break
                (length,) = _LENGTH.unpack_from(data, position)
                position += 4
            else:
                length >>= 16
        if length == _UNDEFINED:
            position = _behind_items(encoded, position, end, group << 16 | element, depth)
        else:
            position += length
    raise UnreadableError(f"{_name(tag)}: an item does not end")


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def mapped(anonymizer: Anonymizer, came: Encoded, tag: int, lookup: Lookup) -> tuple[str, str]:
    """Return the text of a UID at the root, and the one that leaves; empty where it is missing.

    ``came`` may end anywhere behind the element.

    Raises:
        UnreadableError: ``came`` is no data set.
        QuarantineError: the element cannot be read.
    """
    level = _Data(came, last=tag)
    if tag not in level.places:
        # It may be out of its place.
        level = _Data(came, last=FIRST_OF_PIXELS - 1)
    element = level.get(tag)
    if element is None or element.raw is None:
        return "", ""
    came_text = _plain(element.raw)
    rule = anonymizer.script.rules.get(tag)
    if rule is None:
        return came_text, came_text
    decision = anonymizer.decide(rule, element, level, lookup)
    return came_text, came_text if decision.value is None else _plain(decision.value)


def _plain(raw: bytes) -> str:
    return raw.decode("ascii", "replace").strip(" \0")


def pixels_at(encoded: Encoded) -> int:
    """Return where Pixel Data, or what belongs to it, begins: the end where there is none.

    Raises `UnreadableError`.
    """
    return _Data(encoded, last=FIRST_OF_PIXELS - 1).after


def root(came: Encoded, syntax: str = "", last: int = _UNDEFINED) -> _Data:
    """Return a data set as CTP sees it: one that names no character set has CTP's.

    ``syntax`` is its transfer syntax, where a script may ask for it. Nothing behind the element
    ``last`` is read.

    Raises:
        UnreadableError: it is none.
        QuarantineError: its character set cannot be read.
    """
    level = _Data(came, last=last)
    if not level.has_own_set:
        raw = DEFAULT_CHARACTER_SET.encode()
        level.put(_Element(CHARACTER_SET, "CS", raw, True, _NOT_DECODED))
    if syntax:
        level.put(_Element(TRANSFER_SYNTAX, "UI", syntax.encode("ascii"), True, _NOT_DECODED))
    return level


def differences(
    anonymizer: Anonymizer,
    came: Encoded,
    left: Encoded,
    lookup: Lookup,
    names: list[Named] | None = None,
) -> Iterator[Difference]:
    """Yield where an object that left is not what the script makes of the one that came.

    Both end in front of Pixel Data. Values are compared without their padding, as in
    `comparison.differences`; where the object left without value representations, those are not.
    ``names`` gets the names of structures, as far as they were compared.

    Raises:
        UnreadableError: one of the two is no data set.
        QuarantineError: the script, or something in the object, keeps it back.
    """
    level = root(came)
    target = _Data(left)
    for each in _Comparison(anonymizer, lookup, names).root(level, target):
        if each.path != (CHARACTER_SET,) or not _is_named_again(each, target):
            yield each


def _is_named_again(difference: Difference, target: _Data) -> bool:
    """Whether CTP named its default character set where the script had left none.

    It does when it reads an object, and it reads it once more to export it.
    """
    found = target.get(CHARACTER_SET)
    raw = found.raw if found is not None else None
    without = difference.action in (Action.EMPTIED, Action.REMOVED)
    return without and bare("CS", raw) == DEFAULT_CHARACTER_SET.encode()


Expected = tuple[str, Optional[bytes]]


class _Comparison:
    def __init__(
        self, anonymizer: Anonymizer, lookup: Lookup, names: list[Named] | None = None
    ) -> None:
        self._anonymizer = anonymizer
        self._script = anonymizer.script
        self._lookup = lookup
        self._names = names

    def root(self, level: _Data, target: _Data) -> Iterator[Difference]:
        added = dict(self._added(level))
        for tag, expected in added.items():
            path = (tag,)
            if isinstance(expected, Rule):
                yield from self._method_codes(expected, level, target, path)
            else:
                yield from _value(path, Action.ADDED, *expected, target)
        yield from self._level(level, target, (), set(added))

    def _added(self, level: _Data) -> Iterator[tuple[int, Expected | Rule]]:
        rules = list(self._anonymizer._added)
        codes = self._script.rules.get(METHOD_CODES)
        if codes is not None and not codes.adds:
            rules.append(codes)
        for rule in rules:
            if rule.tag in level.places:
                continue
            if rule.tag == METHOD_CODES:
                if rule.source not in ("@keep()", "@remove()"):
                    yield rule.tag, rule
                continue
            vr = default_vr(rule.tag)
            if vr == "SQ":
                continue
            text = _evaluate(rule.text, rule.tag, None, level, self._lookup, set())
            if text in ("@keep()", "@remove()"):
                continue
            if text.startswith("@blank(") or text == "@empty()":
                text = ""
            vr = "SH" if vr == "UN" else vr
            try:
                yield rule.tag, raw_of(rule.tag, vr, text, True, level.characters)
            except CannotHoldError:
                continue

    def _level(
        self, level: _Data, target: _Data, where: Path, known: set[int]
    ) -> Iterator[Difference]:
        if len(where) > 2 * _DEEPEST:
            raise QuarantineError(Refusal.UNREADABLE, where[-2])
        rules, gone, left = self._script.rules, self._anonymizer.gone, target.places
        for tag in sorted(level.places):
            if tag < 0x00080000 or not tag & 0xFFFF:
                continue
            if not where and tag >= FIRST_OF_PIXELS:
                break
            if gone(tag):
                # Most are: nothing of them is read.
                if tag in left:
                    yield Difference((*where, tag), Kind.UNEXPECTED, Action.REMOVED)
                if tag == CHARACTER_SET:
                    level.writes_text = False
                continue
            if tag in level.doubled:
                yield Difference((*where, tag), Kind.DOUBLED, None)
            element = level.get(tag)
            assert element is not None
            yield from self._element(level, target, element, rules.get(tag), (*where, tag))
        for tag in target.places:
            is_pixels = not where and tag >= FIRST_OF_PIXELS
            if tag & 0xFFFF and not is_pixels and tag not in level.places and tag not in known:
                yield Difference((*where, tag), Kind.UNEXPECTED, None)

    def _element(
        self, level: _Data, target: _Data, element: _Element, rule: Rule | None, path: Path
    ) -> Iterator[Difference]:
        tag = element.tag
        if rule is None:
            action = Action.KEPT
        elif tag == METHOD_CODES:
            yield from self._method_codes(rule, level, target, path)
            return
        elif ITEMS in rule.text.reads and element.vr == "SQ":
            if self._enters(rule, element, level):
                yield from self._enter(level, target, tag, path)
                return
            yield from _absent(path, target)
            return
        else:
            decision = self._anonymizer.decide(rule, element, level, self._lookup)
            action = decision.action
            if decision.value is not None:
                yield from _value(path, action, decision.vr, decision.value, target)
                return
        if action is not Action.REMOVED:
            yield from _kept(level, target, element, path, action)
            return
        if tag == CHARACTER_SET:
            level.writes_text = False
        yield from _absent(path, target)

    def _enters(self, rule: Rule, element: _Element, level: _Data) -> bool:
        text = _evaluate(rule.text, rule.tag, element, level, self._lookup, set())
        text = text.strip(JAVA_BLANK)
        if "@remove()" in text:
            return False
        if text != _PROCESSED:
            raise QuarantineError(Refusal.BY_SCRIPT, rule.tag)
        return True

    def _enter(self, level: _Data, target: _Data, tag: int, path: Path) -> Iterator[Difference]:
        found = target.get(tag)
        if found is None:
            yield Difference(path, Kind.MISSING, Action.ENTERED)
            return
        if found.vr != "SQ":
            yield Difference(path, Kind.VALUE, Action.ENTERED)
            return
        for number, (item, other) in enumerate(zip_longest(level.items(tag), target.items(tag))):
            if item is None or other is None:
                yield Difference(path, Kind.VALUE, Action.ENTERED)
                return
            item.writes_text = item.has_own_set or level.writes_text
            yield from self._level(item, other, (*path, number), set())
            if self._names is not None and tag in SEQUENCES:
                self._names += _named(item, other, (*path, number))

    def _method_codes(
        self, rule: Rule, level: _Data, target: _Data, path: Path
    ) -> Iterator[Difference]:
        element = level.get(METHOD_CODES)
        if rule.source in ("@keep()", "@remove()"):
            if element is None:
                return
            if rule.source == "@keep()":
                yield from _kept(level, target, element, path, Action.KEPT)
            else:
                yield from _absent(path, target)
            return
        text = _evaluate(rule.text, rule.tag, element, level, self._lookup, set())
        codes = [code.strip(JAVA_BLANK) for code in text.strip(JAVA_BLANK).split("/")]
        before = element is not None and element.vr == "SQ"
        holds_items = element is None or element.vr == "SQ"
        written: list[str] = []
        for code in codes:
            if code.lower() == "reset":
                before, holds_items, written = False, True, []
                continue
            if not holds_items:
                assert element is not None
                yield from _kept(level, target, element, path, Action.LEFT)
                return
            written.append(code)
        action = Action.ADDED if element is None else Action.REPLACED
        found = target.get(METHOD_CODES)
        if found is None:
            yield Difference(path, Kind.MISSING, action)
            return
        if found.vr != "SQ":
            yield Difference(path, Kind.VALUE, action)
            return
        others = target.items(METHOD_CODES)
        number = 0
        for item in level.items(METHOD_CODES) if before else ():
            other = next(others, None)
            if other is None:
                yield Difference(path, Kind.VALUE, action)
                return
            yield from _same(item, other, (*path, number), Action.KEPT)
            number += 1
        for code in written:
            other = next(others, None)
            if other is None:
                yield Difference(path, Kind.VALUE, action)
                return
            meaning = _METHOD_MEANINGS.get(code)
            texts = {
                0x00080100: ("SH", code),
                0x00080102: ("SH", "DCM" if meaning else "UNKNOWN"),
                0x00080104: ("LO", meaning or "UNKNOWN"),
            }
            inside = (*path, number)
            for tag, (vr, value) in texts.items():
                raw = value.encode("ascii", "replace")
                yield from _value((*inside, tag), action, vr, raw, other)
            for tag in other.places:
                if tag not in texts and tag & 0xFFFF:
                    yield Difference((*inside, tag), Kind.UNEXPECTED, None)
            number += 1
        if next(others, None) is not None:
            yield Difference(path, Kind.VALUE, action)


def _named(item: _Data, other: _Data, where: Path) -> Iterator[Named]:
    for tag, number in NUMBER_OF.items():
        if tag in item.places:
            name, number_of = Reference((tag,)), Reference((number,))
            texts = item.text(number_of, None), item.text(name, None), other.text(name, None)
            yield Named((*where, tag), *texts)


def _absent(path: Path, target: _Data) -> Iterator[Difference]:
    if path[-1] in target.places:
        yield Difference(path, Kind.UNEXPECTED, Action.REMOVED)


def _value(
    path: Path, action: Action, vr: str, value: bytes | None, target: _Data
) -> Iterator[Difference]:
    found = target.get(path[-1])
    if found is None:
        yield Difference(path, Kind.MISSING, action)
    elif found.raw is None or bare(vr, value) != bare(vr, found.raw):
        yield Difference(path, Kind.VALUE, action)
    elif vr != found.vr and not target.encoded.implicit:
        yield Difference(path, Kind.REPRESENTATION, action)


def _kept(
    level: _Data, target: _Data, element: _Element, path: Path, action: Action
) -> Iterator[Difference]:
    if element.raw is not None:
        action = Action.LOST if element.is_lost else action
        yield from _value(path, action, element.vr, element.raw, target)
        return
    found = target.get(element.tag)
    if found is None:
        yield Difference(path, Kind.MISSING, action)
    elif found.raw is not None or (element.vr == "SQ") != (found.vr == "SQ"):
        yield Difference(path, Kind.VALUE, action)
    elif element.vr != "SQ":
        if level.fragments(element.tag) != target.fragments(element.tag):
            yield Difference(path, Kind.VALUE, action)
        elif element.vr != found.vr and not target.encoded.implicit:
            yield Difference(path, Kind.REPRESENTATION, action)
    else:
        pairs = zip_longest(level.items(element.tag), target.items(element.tag))
        for number, (item, other) in enumerate(pairs):
            if item is None or other is None:
                yield Difference(path, Kind.VALUE, action)
                return
            yield from _same(item, other, (*path, number), Action.KEPT)


def _same(level: _Data, target: _Data, where: Path, action: Action) -> Iterator[Difference]:
    """Compare two items of which nothing was to be changed."""
    for tag in level.places:
        if tag & 0xFFFF:
            element = level.get(tag)
            assert element is not None
            yield from _kept(level, target, element, (*where, tag), action)
    for tag in target.places:
        if tag not in level.places and tag & 0xFFFF:
            yield Difference((*where, tag), Kind.UNEXPECTED, None)
