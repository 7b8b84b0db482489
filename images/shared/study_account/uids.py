"""What a UID leaves as, and what a patient is called where no identifier may stand."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from ctp_rules import script
from ctp_rules.script import Call, Text

_INSTANCE, _STUDY, _SERIES = 0x00080018, 0x0020000D, 0x0020000E
_LONGEST = 64
_KEEP = "@keep()"


class RuleError(ValueError):
    """The script does with UIDs what is not followed here; the text says what."""


@dataclass(frozen=True)
class LeavingUids:
    """What one script makes of the UIDs of an object, its series and its study.

    Attributes:
        rule: the script of the element, the same for all three.
    """

    rule: Text

    def of(self, uid: str) -> str:
        """What becomes of this UID; empty where there is none, or none is left."""
        if not uid:
            return ""
        try:
            found = _evaluated(self.rule, uid)
        except RuleError:
            return ""
        return uid if found == _KEEP else "" if found.startswith("@") else found


def read(content: bytes) -> LeavingUids:
    """Return how a rendered script, with its key in place, hashes the UIDs of an object.

    Raises:
        RuleError: it does not, or not those of object, series and study alike.
    """
    try:
        rules: Mapping[int, script.Rule] = script.parse(content).rules
    except script.ScriptError as error:
        raise RuleError(f"the script is not understood: {error}") from None
    found = [rules[tag] for tag in (_INSTANCE, _SERIES, _STUDY) if tag in rules]
    if len(found) < 3 or len({each.source for each in found}) > 1:
        raise RuleError("the script does not treat the UIDs of object, series and study alike")
    leaving = LeavingUids(found[0].text)
    _evaluated(leaving.rule, "1.2.3")
    if len({leaving.of("1.2.3"), leaving.of("1.2.4"), "1.2.3", "1.2.4", ""}) < 5:
        raise RuleError("the script does not hash the UIDs of object, series and study")
    return leaving


def _evaluated(text: Text, uid: str) -> str:
    return "".join(each if isinstance(each, str) else _called(each, uid) for each in text.parts)


def _called(call: Call, uid: str) -> str:
    """What a call gives in an element of the object itself with that value.

    Raises ``RuleError`` for what depends on anything else.
    """
    if not call.element.tags and not call.more:
        if call.name == "if":
            test, _ = call.arguments
            if test == "matches" and call.pattern is not None:
                return _evaluated(call.clauses[0 if call.pattern.match(uid) else 1], uid)
            if test == "isblank":
                return _evaluated(call.clauses[0 if not uid.strip() else 1], uid)
        elif call.name == "select":
            return _evaluated(call.clauses[0], uid)
        elif call.name == "hashuid":
            return _hashed_uid(uid, *call.arguments)
        elif call.name in ("keep", "remove", "empty"):
            return f"@{call.name}()"
    raise RuleError(f"@{call.name} in the script of a UID is not followed here")


def _hashed_uid(uid: str, root: str, key: str) -> str:
    """``@hashuid``: the decimal MD5 of UID and key, behind the root."""
    digest = hashlib.md5(f"{uid}{key}".encode("utf-8", "replace"), usedforsecurity=False).digest()
    number = str(int.from_bytes(digest, "big"))
    return (root + ("9" if number.startswith("0") else "") + number)[:_LONGEST]


def hashed(key: bytes, *parts: str) -> bytes:
    """Sixteen bytes that stand for these texts; nobody without the key can test a guess."""
    found = hashlib.blake2b(key=key[:64], digest_size=16, person=b"study account")
    for part in parts:
        data = part.encode("utf-8", "surrogateescape")
        found.update(len(data).to_bytes(4, "big") + data)
    return found.digest()


def digest(uid: str) -> bytes:
    """The row's key of an object, by the UID that it leaves under."""
    return hashlib.blake2b(uid.encode("utf-8", "surrogateescape"), digest_size=16).digest()
