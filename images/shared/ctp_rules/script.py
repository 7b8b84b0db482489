r"""CTP's anonymizer script, understood as a whole before the first object comes.

::

    <script>
      <p t="NAME">value</p>                          a parameter, used as @NAME in an argument
      <e en="T" t="00100020" n="PatientID">...</e>   what becomes of an element
      <k en="T" t="0018"/>                           keeps a group that is not listed
      <r en="T" t="unspecifiedelements"/>            removes what is not listed

An element's script is text with calls in it. What the calls give and the text beside them, put
together, is the new value of the element; ``@keep()``, ``@remove()`` and ``@empty()`` are such
values, too. A backslash takes the next character as it is.

==========================================  ======================================================
Call                                        gives
==========================================  ======================================================
``@always()``                               nothing; at the start, the element is added where it
                                            is missing
``@if(element,test,argument){yes}{no}``     one of the two; tests: isblank exists equals contains
                                            matches greaterthan
``@select(){root}{item}``                   the first in the object itself, the second in an item
``@contents(element,"expression","with")``  the value of the element, with replacements
``@lookup(element|element,kind)``           what the lookup table has for kind/value; quarantine
                                            where it has nothing
``@hashuid(root,element,key)``              root and the decimal MD5 of value and key's script
``@incrementdate(element,by,kind)``         the date moved by the days that the table has
``@process()``                              an item after the other, processed by the same script
``@require()``                              the element as it is
``@quarantine()``                           ends it
``@keep() @remove() @empty() @blank(n)``    themselves
``@append(){text} @truncate() @lowercase()  changed values
@uppercase()``
==========================================  ======================================================

An element is ``this``, a keyword, a tag, a path of them with ``::`` (first items), or one of these
behind ``root:``. Whatever else CTP can do is refused: ``@skip``, which passes an object as it came,
``@call``, ``@encrypt``, private elements, and what CTP would write out as text because it does not
know the name.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.datadict import tag_for_keyword

from .elements import JAVA_BLANK
from .expressions import ExpressionError, compiled

PRIVATE_GROUPS, UNSPECIFIED = "privategroups", "unspecifiedelements"
OVERLAYS, CURVES = "overlays", "curves"
_REMOVED = (PRIVATE_GROUPS, UNSPECIFIED, OVERLAYS, CURVES)

TRANSFER_SYNTAX = 0x00020010
"""All of the file's header that a script may look at."""

# What a part of a script looks at, beside itself.
THIS, PLACE, OTHERS, LOOKUP, ITEMS = "this", "place", "others", "lookup", "items"

_LITERAL = frozenset({"keep", "remove", "empty", "blank"})
_TESTS = {"isblank": 2, "exists": 2, "equals": 3, "contains": 3, "matches": 3, "greaterthan": 3}
_TAG = re.compile(r"\[?\(?([0-9a-fA-F]{4}),?([0-9a-fA-F]{4})\)?\]?")
_MOST_BYTES = 4 * 2**20


class ScriptError(ValueError):
    """The script is not understood; nothing may be de-identified by it."""


@dataclass(frozen=True)
class Reference:
    """An element that a call names: ``tags`` is a path of first items; empty is ``this``."""

    tags: tuple[int, ...] = ()
    from_root: bool = False


@dataclass(frozen=True)
class Call:
    """One call with what its arguments mean.

    Attributes:
        name: of the function, such as ``if``.
        element: what it looks at.
        arguments: the others, quotes taken away and parameters put in.
        pattern: of ``matches`` and of ``@contents``.
        clauses: the scripts in braces.
        more: what else it looks at, where it joins the values of several elements.
    """

    name: str
    element: Reference = Reference()
    arguments: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    clauses: tuple[Text, ...] = ()
    more: tuple[Reference, ...] = ()


@dataclass(frozen=True)
class Text:
    """A script or a clause of one: text and calls, in order."""

    parts: tuple[str | Call, ...]
    reads: frozenset[str]

    @property
    def literal(self) -> str | None:
        """The text, where there is nothing to be asked."""
        if any(isinstance(part, Call) for part in self.parts):
            return None
        return "".join(str(part) for part in self.parts)


@dataclass(frozen=True)
class Rule:
    """What becomes of one element: ``source`` is its script, ``text`` what that means."""

    tag: int
    source: str
    text: Text

    @property
    def adds(self) -> bool:
        """Whether the element is added where it is missing."""
        return self.source.startswith("@always()")


@dataclass(frozen=True)
class Script:
    """An anonymizer script.

    Attributes:
        rules: by tag.
        kept_groups: group numbers.
        removed: of ``privategroups``, ``unspecifiedelements``, ``overlays``, ``curves``.
    """

    rules: Mapping[int, Rule]
    kept_groups: frozenset[int]
    removed: frozenset[str]


def read(path: Path) -> Script:
    """Return the script in a file.

    Raises:
        ScriptError: there is none, or it is not understood.
    """
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise ScriptError(f"it cannot be read ({type(error).__name__})") from None


def parse(content: str | bytes) -> Script:
    """Return what a script means.

    Raises:
        ScriptError: it is not well-formed, processes no element, or has anything in it that this
            package does not interpret.
    """
    raw = content.encode() if isinstance(content, str) else content
    if len(raw) > _MOST_BYTES:
        raise ScriptError(f"it is longer than {_MOST_BYTES} bytes")
    # A document type could make text of what stands in other files.
    if re.search(rb"<!DOCTYPE|<!ENTITY", raw, re.IGNORECASE):
        raise ScriptError("it has a document type")
    try:
        root = ET.fromstring(raw)
    except ET.ParseError as error:
        raise ScriptError(f"it is not well-formed XML ({error})") from None
    if root.tag != "script":
        raise ScriptError(f"its root element is <{root.tag}>, not <script>")
    parameters = {each.get("t", ""): "".join(each.itertext()) for each in root if each.tag == "p"}
    texts: dict[int, str] = {}
    removed, kept = set(), set()
    for child in root:
        if child.tag == "p" or child.get("en") != "T":
            if child.tag not in ("p", "e", "k", "r"):
                raise ScriptError(f"<{child.tag}> is not known")
            continue
        what = child.get("t", "")
        if child.tag == "e":
            tag = _tag(what)
            if tag in texts:
                raise ScriptError(f"{what} has two scripts")
            texts[tag] = "".join(child.itertext()).strip(JAVA_BLANK)
        elif child.tag == "r" and what in _REMOVED:
            removed.add(what)
        elif child.tag == "k" and re.fullmatch("[0-9a-fA-F]{4}", what):
            kept.add(int(what, 16))
        else:
            raise ScriptError(f"<{child.tag}> of {what!r} is not known")
    if not any(texts.values()):
        raise ScriptError("it processes no element")
    rules = {}
    for tag, source in texts.items():
        try:
            rules[tag] = Rule(tag, source, _Reader(source, parameters, texts).whole())
        except (ScriptError, ExpressionError) as error:
            raise ScriptError(f"{tag:08X}: {error}") from None
    return Script(rules, frozenset(kept), frozenset(removed))


def _tag(text: str) -> int:
    match = _TAG.fullmatch(text)
    if match is None:
        raise ScriptError(f"{text!r} is no tag")
    tag = int(match[1] + match[2], 16)
    if tag >> 16 & 1:
        raise ScriptError(f"{text} is private")
    return tag


def reference(name: str) -> Reference:
    """Return what a name means as an element.

    Raises:
        ScriptError: it is no element that this package knows.
    """
    name = name.strip(JAVA_BLANK)
    if name == "this":
        return Reference()
    from_root = name.startswith("root:")
    if from_root:
        name = name[5:].strip(JAVA_BLANK)
    tags = []
    for part in name.split("::"):
        found = None if _TAG.fullmatch(part) else tag_for_keyword(part)
        tag = _tag(part if found is None else f"{found:08X}")
        if tag < 0x00080000 and tag != TRANSFER_SYNTAX:
            raise ScriptError(f"{part} is of the file's header")
        tags.append(tag)
    return Reference(tuple(tags), from_root)


@dataclass
class _Reader:
    """Reads one script as CTP's ``makeReplacement`` and ``FnCall`` go through it."""

    source: str
    parameters: Mapping[str, str]
    scripts: Mapping[int, str]
    depth: int = 0
    _reads: set[str] = field(default_factory=set)

    def whole(self) -> Text:
        if self.depth > 20:
            raise ScriptError("its calls are nested too deeply")
        parts: list[str | Call] = []
        text = ""
        position = 0
        while position < len(self.source):
            character = self.source[position]
            position += 1
            if character == "\\":
                text += self.source[position : position + 1]
                position += 1
            elif character == "@":
                part, position = self._call(position)
                if isinstance(part, str):
                    text += part
                else:
                    parts += [text, part] if text else [part]
                    text = ""
            else:
                text += character
        return Text(tuple([*parts, text] if text else parts), frozenset(self._reads))

    def _call(self, start: int) -> tuple[str | Call, int]:
        opened = self.source.find("(", start)
        if opened < 0:
            raise ScriptError("an @ calls nothing")
        name = re.sub(r"\s", "", self.source[start:opened])
        arguments, position = self._arguments(opened + 1)
        if name in _LITERAL:
            return f"@{name}({','.join(arguments)})", position
        if name == "always":
            return "", position
        clauses = []
        for _ in range({"if": 2, "select": 2, "append": 1}.get(name, 0)):
            clause, position = self._clause(position)
            inner = _Reader(clause, self.parameters, self.scripts, self.depth + 1)
            clauses.append(inner.whole())
            self._reads |= clauses[-1].reads
        return self._understood(name, arguments, tuple(clauses)), position

    def _arguments(self, position: int) -> tuple[list[str], int]:
        found: list[str] = []
        while True:
            while self._at(position).isspace():
                position += 1
            if not self._at(position):
                raise ScriptError("a call is not closed")
            if self._at(position) == ")":
                return found, position + 1
            argument, position = self._argument(position)
            found.append(argument)

    def _argument(self, position: int) -> tuple[str, int]:
        argument = ""
        escaped = quoted = False
        brackets = parentheses = 0
        while True:
            character = self._at(position)
            if not character:
                raise ScriptError("a call is not closed")
            if not (escaped or quoted or brackets or parentheses) and character in ",)":
                return argument.strip(JAVA_BLANK), position + (character == ",")
            if character == "\\" and not escaped:
                escaped = True
            else:
                argument += character
                if character == '"':
                    quoted = not quoted
                if not quoted:
                    brackets += (character == "[") - (character == "]" and brackets > 0)
                    parentheses += (character == "(") - (character == ")" and parentheses > 0)
                escaped = False
            position += 1

    def _clause(self, position: int) -> tuple[str, int]:
        while self._at(position).isspace():
            position += 1
        if self._at(position) != "{":
            raise ScriptError("a clause in braces is missing")
        depth = 1
        start = position + 1
        while depth:
            position += 1
            character = self._at(position)
            if not character:
                raise ScriptError("a brace is not closed")
            depth += (character == "{") - (character == "}")
        return self.source[start:position].strip(JAVA_BLANK), position + 1

    def _at(self, position: int) -> str:
        return self.source[position : position + 1]

    def _understood(self, name: str, arguments: list[str], clauses: tuple[Text, ...]) -> Call:
        understand: dict[str, Callable[[list[str], tuple[Text, ...]], Call]] = {
            "if": self._if,
            "select": self._select,
            "append": self._append,
            "contents": self._contents,
            "lookup": self._lookup,
            "hashuid": self._hashuid,
            "incrementdate": self._incrementdate,
            "process": self._process,
            "require": self._require,
            "quarantine": self._quarantine,
            "truncate": self._changed("truncate", 2),
            "lowercase": self._changed("lowercase", 1),
            "uppercase": self._changed("uppercase", 1),
        }
        if name not in understand:
            raise ScriptError(f"@{name} is not interpreted")
        return understand[name](arguments, clauses)

    def _count(self, name: str, arguments: list[str], *counts: int) -> None:
        if len(arguments) not in counts:
            raise ScriptError(f"@{name} has {len(arguments)} arguments")

    def _element(self, name: str) -> Reference:
        element = reference(name)
        self._reads.add(OTHERS if element.tags else THIS)
        return element

    def _quoted(self, argument: str) -> str:
        if len(argument) > 1 and argument.startswith('"') and argument.endswith('"'):
            return argument[1:-1]
        return argument

    def _parameter(self, argument: str) -> str:
        """Return an argument of which CTP takes an @ or $ away and looks it up."""
        argument = argument.strip(JAVA_BLANK)
        if argument[:1] in ("@", "$"):
            if argument[1:] not in self.parameters:
                raise ScriptError(f"the parameter {argument[1:]} is missing")
            return self.parameters[argument[1:]]
        return argument

    def _if(self, arguments: list[str], clauses: tuple[Text, ...]) -> Call:
        if len(arguments) < 2 or arguments[1] not in _TESTS:
            raise ScriptError("@if asks for nothing that is known")
        test = arguments[1]
        self._count("if", arguments, _TESTS[test])
        element = self._element(arguments[0])
        asked = ""
        pattern = None
        if len(arguments) == 3:
            asked = self._quoted(arguments[2])
            if asked.startswith("@"):
                asked = self._parameter(asked)
            if test == "matches":
                pattern = compiled(asked.strip(JAVA_BLANK), is_whole=True)
        return Call("if", element, (test, asked), pattern, clauses)

    def _select(self, arguments: list[str], clauses: tuple[Text, ...]) -> Call:
        self._reads.add(PLACE)
        return Call("select", clauses=clauses)

    def _append(self, arguments: list[str], clauses: tuple[Text, ...]) -> Call:
        self._reads.add(THIS)
        return Call("append", clauses=clauses)

    def _contents(self, arguments: list[str], clauses: tuple[Text, ...]) -> Call:
        self._count("contents", arguments, 1, 2, 3)
        element = self._element(arguments[0])
        pattern = compiled(self._quoted(arguments[1])) if len(arguments) > 1 else None
        put = tuple(map(self._quoted, arguments[2:])) or ("",)
        return Call("contents", element, put, pattern)

    def _lookup(self, arguments: list[str], clauses: tuple[Text, ...]) -> Call:
        self._count("lookup", arguments, 2)
        self._reads.add(LOOKUP)
        first, *more = (self._element(name) for name in arguments[0].split("|"))
        return Call("lookup", first, (arguments[1].strip(JAVA_BLANK),), more=tuple(more))

    def _hashuid(self, arguments: list[str], clauses: tuple[Text, ...]) -> Call:
        self._count("hashuid", arguments, 2, 3)
        root = self._parameter(arguments[0])
        key = ""
        if len(arguments) == 3:
            tags = reference(arguments[2]).tags
            source = self.scripts.get(tags[0], "") if len(tags) == 1 else ""
            meant = _Reader(source, self.parameters, self.scripts, self.depth + 1).whole().literal
            if not meant:
                raise ScriptError("the key of @hashuid is no script of plain text")
            key = meant
        return Call("hashuid", self._element(arguments[1]), (root.rstrip(".") + ".", key))

    def _incrementdate(self, arguments: list[str], clauses: tuple[Text, ...]) -> Call:
        self._count("incrementdate", arguments, 3)
        key = reference(arguments[1])
        if len(key.tags) != 1:
            raise ScriptError("@incrementdate has to look up one element")
        self._reads.add(LOOKUP)
        kind = self._parameter(arguments[2]).strip(JAVA_BLANK)
        by = f"{'root:' if key.from_root else ''}{key.tags[0]:08X}"
        return Call("incrementdate", self._element(arguments[0]), (by, kind))

    def _process(self, arguments: list[str], clauses: tuple[Text, ...]) -> Call:
        self._reads.add(ITEMS)
        return Call("process")

    def _require(self, arguments: list[str], clauses: tuple[Text, ...]) -> Call:
        self._count("require", arguments, 0)
        self._reads.add(THIS)
        return Call("require")

    def _quarantine(self, arguments: list[str], clauses: tuple[Text, ...]) -> Call:
        return Call("quarantine")

    def _changed(
        self, name: str, arguments_of_it: int
    ) -> Callable[[list[str], tuple[Text, ...]], Call]:
        def understood(arguments: list[str], clauses: tuple[Text, ...]) -> Call:
            self._count(name, arguments, arguments_of_it)
            if name == "truncate" and not re.fullmatch("-?[0-9]{1,6}", arguments[1]):
                raise ScriptError("@truncate has no number")
            return Call(name, self._element(arguments[0]), tuple(arguments[1:]))

        return understood
