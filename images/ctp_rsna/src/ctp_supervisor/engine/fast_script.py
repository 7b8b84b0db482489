"""The anonymizer script in the form that costs CTP least, with the same meaning.

For every object CTP finds the tag of every element that the script lists anew. It looks first for
a field of that name in dcm4che's ``Tags`` (``tags_class``), and where it finds none, by two
exceptions and two regular expressions, for a number. An XML script can only hold numbers. The other
form that CTP reads, Java properties, can hold the names.

A name is used only where the very ``Tags`` of the distribution that is about to run gives it the
tag of the element, so that no name can mean another element, or none. Elsewhere the number stays.
What was written is read again by the rules of ``java.util.Properties`` and has to say what the XML
said; otherwise nothing is started.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree

from .verify import VerificationError

_TAG = re.compile(r"[0-9A-Fa-f]{8}")
# What java.lang.String.trim takes away.
_TRIMMED = "".join(map(chr, range(0x21)))


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
