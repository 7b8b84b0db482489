"""The anonymizer script in the form that costs CTP least, with the same meaning.

For every object CTP finds the tag of every element that the script lists anew. It looks first for
a field of that name in dcm4che's ``org.dcm4che.dict.Tags``, going through some 5000 of them, and
where it finds none, by two exceptions and two regular expressions, for a number. An XML script can
only hold numbers. The other form that CTP reads, Java properties, can hold the names: half as long
a search, and nothing after it.

CTP goes through these fields in the order of the class. So it is given that class once more, with
the fields that the script needs in front of the others: nothing else of it differs, and it is used
only where reading it again gives the same constants.

A name is used only where the very ``Tags`` of the distribution that is about to run gives it the
tag of the element, so that no name can mean another element, or none. Elsewhere the number stays.
What was written is read again by the rules of ``java.util.Properties`` and has to say what the XML
said; otherwise nothing is started.
"""

from __future__ import annotations

import re
import struct
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

from .verify import VerificationError

TAGS_CLASS = "org/dcm4che/dict/Tags.class"

_PUBLIC_STATIC = 0x0009
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_SIZES = {3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3}
_SIZES |= {16: 2, 17: 4, 18: 4, 19: 2, 20: 2}
# What java.lang.String.trim takes away.
_TRIMMED = "".join(map(chr, range(0x21)))
_UTF8, _INTEGER = 1, 3
_TWO_PLACES = (5, 6)


def dictionary(libraries: Path) -> bytes:
    """Return the class ``Tags`` of dcm4che below ``libraries``; empty where it is not clear.

    It is clear where exactly one archive holds the class, and that can be read.
    """
    found = []
    for path in sorted(libraries.rglob("*.jar")):
        try:
            with zipfile.ZipFile(path) as archive:
                found.append(archive.read(TAGS_CLASS))
        except KeyError:
            continue
        except (OSError, zipfile.BadZipFile):
            return b""
    return found[0] if len(found) == 1 else b""


def names(tags_class: bytes) -> dict[int, str]:
    """Return the names that a class ``Tags`` has for tags; empty where it cannot be read."""
    try:
        constants = class_constants(tags_class)
    except (struct.error, IndexError, KeyError, ValueError):
        return {}
    return {tag: name for name, tag in constants.items() if _NAME.fullmatch(name)}


def with_first(tags_class: bytes, tags: Collection[int]) -> bytes:
    """Return the class with the fields of these tags in front; empty where that cannot be done."""
    try:
        known = class_constants(tags_class)
        first: list[bytes] = []
        others: list[bytes] = []
        start, spans = _fields(tags_class)
        for name, begin, end in spans:
            field = tags_class[begin:end]
            (first if known.get(name) in tags else others).append(field)
        end = spans[-1][2] if spans else start
        found = tags_class[:start] + b"".join(first + others) + tags_class[end:]
        return found if class_constants(found) == known else b""
    except (struct.error, IndexError, KeyError, ValueError):
        return b""


def class_constants(data: bytes) -> dict[str, int]:
    """Return the public static constants of type int of a Java class (JVMS 4), unsigned.

    Raises ``ValueError``, ``KeyError``, ``IndexError`` or ``struct.error`` for anything else.
    """
    texts, integers, _ = _constant_pool(data)
    constants = {}
    for name, begin, _end in _fields(data)[1]:
        access, _, descriptor, attributes = struct.unpack_from(">HHHH", data, begin)
        at = begin + 8
        for _ in range(attributes):
            attribute, length = struct.unpack_from(">HI", data, at)
            if (
                texts[attribute] == "ConstantValue"
                and texts[descriptor] == "I"
                and access & _PUBLIC_STATIC == _PUBLIC_STATIC
            ):
                (value,) = struct.unpack_from(">H", data, at + 6)
                constants[name] = integers[value]
            at += 6 + length
    return constants


def _constant_pool(data: bytes) -> tuple[dict[int, str], dict[int, int], int]:
    """The texts and the integers by their index, and where the pool ends."""
    magic, _, _, count = struct.unpack_from(">IHHH", data)
    if magic != 0xCAFEBABE:
        raise ValueError("no Java class")
    at, place = 10, 1
    texts: dict[int, str] = {}
    integers: dict[int, int] = {}
    while place < count:
        kind = data[at]
        if kind == _UTF8:
            (length,) = struct.unpack_from(">H", data, at + 1)
            texts[place] = data[at + 3 : at + 3 + length].decode("utf-8", "replace")
            at += 3 + length
        else:
            if kind == _INTEGER:
                (integers[place],) = struct.unpack_from(">I", data, at + 1)
            at += 1 + _SIZES[kind]
        place += 2 if kind in _TWO_PLACES else 1
    return texts, integers, at


def _fields(data: bytes) -> tuple[int, list[tuple[str, int, int]]]:
    """Where the fields begin, and each field's name, beginning and end."""
    texts, _, at = _constant_pool(data)
    (interfaces,) = struct.unpack_from(">H", data, at + 6)
    at += 8 + 2 * interfaces
    (count,) = struct.unpack_from(">H", data, at)
    at += 2
    start = at
    found = []
    for _ in range(count):
        begin = at
        _, name, _, attributes = struct.unpack_from(">HHHH", data, at)
        at += 8
        for _ in range(attributes):
            (length,) = struct.unpack_from(">I", data, at + 2)
            at += 6 + length
        found.append((texts[name], begin, at))
    return start, found


def as_properties(script: bytes, known: Mapping[int, str]) -> bytes:
    """Return an XML script in the form of properties, elements by name where ``known`` has one.

    Raises:
        VerificationError: it lists an element twice or one by no tag, it keeps a group, or what was
            written says another thing.
    """
    wanted = {}
    lines = []
    for key, tag, value in _entries(script):
        if key in wanted:
            raise VerificationError(f"The script has {key} twice.")
        wanted[key] = value
        if tag is not None and tag in known:
            key = f"set.[{known[tag]}]"
        lines.append(f"{_escaped(key, True)}={_escaped(value, False)}\n")
    text = "".join(lines)
    tags = {name: tag for tag, name in known.items()}
    if {_by_number(key, tags): value for key, value in _read(text)} != wanted:
        raise VerificationError("The script as properties does not say what its XML says.")
    return text.encode("ascii")


def listed(script: bytes) -> set[int]:
    """Return the tags of the elements that an XML script lists."""
    return {tag for _, tag, _ in _entries(script) if tag is not None}


def _entries(script: bytes) -> Iterator[tuple[str, int | None, str]]:
    """What CTP makes of the XML: key and value of each property, with the tag of an element."""
    for child in ElementTree.fromstring(script):
        t = child.get("t", "")
        if child.tag == "p":
            yield f"param.{t}", None, child.text or ""
        elif child.get("en") != "T":
            continue
        elif child.tag == "e":
            if not _TAG.fullmatch(t):
                raise VerificationError(f"The script has an element {t!r}, which is no tag.")
            yield _numbered(int(t, 16)), int(t, 16), (child.text or "").strip(_TRIMMED)
        elif child.tag == "k":
            raise VerificationError(f"The script keeps the group {t!r} as it is.")
        elif child.tag == "r":
            yield f"remove.{t}", None, ""


def _numbered(tag: int) -> str:
    return f"set.[{tag >> 16:04x},{tag & 0xFFFF:04x}]"


def _by_number(key: str, tags: Mapping[str, int]) -> str:
    match = re.fullmatch(r"set\.\[(\w+)\]", key)
    return _numbered(tags[match[1]]) if match and match[1] in tags else key


def _escaped(text: str, key: bool) -> str:
    """Escape as ``java.util.Properties.store`` does: ASCII, no white space that could get lost."""
    out = []
    for place, character in enumerate(text):
        if character == "\\" or (key and character in ":=#! "):
            out.append("\\" + character)
        elif character == " " and place == 0:
            out.append("\\ ")
        elif " " <= character <= "~":
            out.append(character)
        else:
            units = character.encode("utf-16-be")
            out += [f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2)]
    return "".join(out)


def _read(text: str) -> Iterator[tuple[str, str]]:
    """Read lines as ``java.util.Properties.load`` does, for lines without a continuation.

    CTP takes a file for XML that has a line beginning with ``<``; such a line is refused.
    """
    for line in text.splitlines():
        if not line or line[0] in " \t\f#!<":
            raise VerificationError("The script has a line that CTP would read as something else.")
        match = re.fullmatch(r"((?:\\.|[^\\=:\s])+)=(.*)", line)
        if not match:
            raise VerificationError("The script has a line without a key.")
        yield _unescaped(match[1]), _unescaped(match[2].lstrip(" \t\f"))


def _unescaped(text: str) -> str:
    """Undo the escapes; one at the end of a line would continue it."""
    if re.search(r"(?<!\\)(?:\\\\)*\\$", text):
        raise VerificationError("The script has a line that goes on in the next one.")

    def one(match: re.Match[str]) -> str:
        if match[1]:
            return chr(int(match[1], 16))
        return {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}.get(match[2], match[2])

    plain = re.sub(r"\\(?:u([0-9A-Fa-f]{4})|(.))", one, text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16")
