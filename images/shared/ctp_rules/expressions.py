r"""Java's regular expressions, as far as scripts use them, in Python's ``re``.

Both agree on most of the syntax. Translated are ``\p{Cntrl}``, a dot (Java's leaves out five line
ends, Python's one), alternatives of different lengths in a lookbehind, and possessive groups:
Python 3.11 finds the whole of "AB " with ``A(?:[ ]{1,3}B)*+``. Flags other than ``(?i)`` and
``(?s)`` at the start, and other classes by property, are refused.
"""

from __future__ import annotations

import functools
import re

_FLAGS = re.compile(r"\(\?([is]+)\)")
_DOT = "[^\n\r\u0085\u2028\u2029]"
_CONTROL = r"\x00-\x1f\x7f"
_POSSESSIVE = re.compile(r"([*+?]|\{[0-9,]+\})\+")
_GROUP = re.compile(r"\$([0-9])|\\(.)", re.DOTALL)


class ExpressionError(ValueError):
    """An expression that is not understood."""


@functools.lru_cache(maxsize=4096)
def compiled(expression: str, is_whole: bool = False) -> re.Pattern[str]:
    """Return the pattern; a whole one finds with ``match`` what ``String.matches`` asks.

    Raises:
        ExpressionError: it is no regular expression, or has what is not translated.
    """
    flags = _FLAGS.match(expression)
    rest = expression[flags.end() :] if flags else expression
    given = flags[1] if flags else ""
    options = re.ASCII
    if "i" in given:
        options |= re.IGNORECASE
    if "s" in given:
        options |= re.DOTALL
    try:
        found = _translated(rest, dot_is_all="s" in given)
        return re.compile(rf"(?:{found})\Z" if is_whole else found, options)
    except re.error as error:
        raise ExpressionError(f"the regular expression {expression[:60]!r}: {error}") from None


def replaced(pattern: re.Pattern[str], value: str, replacement: str) -> str:
    """Return what ``String.replaceAll`` returns; ``$n`` is a group, a backslash escapes."""

    def put(match: re.Match[str]) -> str:
        return _GROUP.sub(
            lambda found: (match[int(found[1])] or "") if found[1] else found[2], replacement
        )

    return pattern.sub(put, value)


def _translated(expression: str, dot_is_all: bool) -> str:
    parts = []
    position = 0
    in_class = 0
    opened: list[int] = []
    while position < len(expression):
        character = expression[position]
        if character == "\\":
            two = expression[position : position + 2]
            if two in (r"\p", r"\P"):
                name = expression[position : position + 9]
                if name != r"\p{Cntrl}":
                    raise ExpressionError(f"the property {name!r} is not known")
                parts.append(_CONTROL if in_class else f"[{_CONTROL}]")
                position += 9
                continue
            if two[1:] in "QEGXRhHvVzZkb" and len(two) == 2 and two != r"\b":
                raise ExpressionError(f"{two!r} is not known")
            parts.append(two)
            position += 2
            continue
        if character == "[":
            if in_class:
                raise ExpressionError("a class in a class is not known")
            in_class = 1
        elif character == "]" and in_class and parts[-1] not in ("[", "[^"):
            in_class = 0
        elif character == "&" and in_class and expression.startswith("&&", position):
            raise ExpressionError("an intersection of classes is not known")
        elif not in_class and character == "." and not dot_is_all:
            parts.append(_DOT)
            position += 1
            continue
        elif not in_class and expression.startswith("(?<=", position):
            inner, position = _group(expression, position + 4)
            alternatives = _alternatives(inner)
            looked = "|".join(f"(?<={_translated(each, dot_is_all)})" for each in alternatives)
            # Python takes "^" for no lookbehind of its own, and needs none.
            parts.append(f"(?:{looked.replace('(?<=^)', '^')})")
            continue
        elif not in_class and character == "(":
            opened.append(len(parts))
        elif not in_class and character == ")" and opened:
            start = opened.pop()
            if possessive := _POSSESSIVE.match(expression, position + 1):
                parts[start] = "(?>" + parts[start]
                parts += [")", possessive[1], ")"]
                position = possessive.end()
                continue
        parts.append(character)
        position += 1
    return "".join(parts)


def _group(expression: str, start: int) -> tuple[str, int]:
    """Return what stands before the parenthesis that closes, and the place behind it."""
    depth = 1
    position = start
    while position < len(expression):
        character = expression[position]
        if character == "\\":
            position += 1
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if depth == 0:
                return expression[start:position], position + 1
        position += 1
    raise ExpressionError("a parenthesis is not closed")


def _alternatives(expression: str) -> list[str]:
    found = [""]
    depth = 0
    escaped = False
    for character in expression:
        if character == "|" and not depth and not escaped:
            found.append("")
            continue
        if not escaped:
            depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(character, 0)
        escaped = character == "\\" and not escaped
        found[-1] += character
    return found
