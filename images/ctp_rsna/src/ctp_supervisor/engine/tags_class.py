"""dcm4che's dictionary of names and tags, the class ``Tags``, in a form that remembers.

CTP asks it by name for each of the script's some thousand elements, for every object, and its
``forName`` goes through some 5000 fields by reflection each time: half of CTP's processor time. So
CTP is given that class once more, on the boot class path, with a ``forName`` that looks into a
table of what was found before, or thrown, and else asks the method that was there, under another
name. Nothing else of the class differs. It is made from the distribution at hand when that is
started, and used only where reading it again gives the same constants.

A Java class is read and written by the Java Virtual Machine Specification (SE 21), chapter 4; the
instructions are those of chapter 6.
"""

from __future__ import annotations

import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TAGS_CLASS = "org/dcm4che/dict/Tags.class"

_PUBLIC, _PRIVATE = 0x0001, 0x0002
_PUBLIC_STATIC = 0x0009
_PRIVATE_STATIC_SYNTHETIC = 0x100A
_INTERFACE = 0x0200
#: Most bytes of the class that are read; CTP's has 0.2 MB.
_LARGEST = 4 * 1024 * 1024
#: What Java's boot loader has, by itself or as an array of it; it knows no other class of CTP.
_OF_JAVA = re.compile(r"(\[+L)?java/(lang|util|io|text|math|net)/.+|\[+[A-Z]")
#: What ``zipfile`` raises for an archive that is damaged, or of a kind that no Java reads either.
_UNREADABLE = (
    *(OSError, RuntimeError, ValueError, EOFError, struct.error),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SIZES = {3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3}
_SIZES |= {16: 2, 17: 4, 18: 4, 19: 2, 20: 2}
_UTF8, _INTEGER, _CLASS, _FIELD, _METHOD, _NAME_AND_TYPE = 1, 3, 7, 9, 10, 12
_TWO_PLACES = (5, 6)
_LOOK_UP = ("forName", "(Ljava/lang/String;)I")
_SEARCH, _FOUND = "auscat$search", "auscat$found"
_MAP = "java/util/concurrent/ConcurrentHashMap"
#: Most names that are remembered: all of the dictionary, and others as many.
_MOST = 10_000
#: From this version on a class file needs stack maps (JVMS 4.10).
_STACK_MAPS = 50


@dataclass
class _Member:
    """A field or a method."""

    access: int
    name: str
    descriptor: str
    begin: int
    end: int
    #: Attribute to where its content begins.
    attributes: dict[str, int]


@dataclass
class _Pool:
    """The constant pool, to which entries can be added."""

    count: int
    end: int
    texts: dict[int, str]
    integers: dict[int, int]
    #: Of the names of classes, where they stand.
    classes: dict[int, int]
    added: bytearray = field(default_factory=bytearray)

    def add(self, kind: int, *values: int) -> int:
        self.added += struct.pack(f">B{len(values)}H", kind, *values)
        self.count += 1
        return self.count - 1

    def text(self, value: str) -> int:
        data = value.encode("ascii")
        self.added += struct.pack(">BH", _UTF8, len(data)) + data
        self.count += 1
        return self.count - 1

    def of_class(self, name: str) -> int:
        return self.add(_CLASS, self.text(name))

    def member(self, kind: int, of: int, name: str, descriptor: str) -> int:
        described = self.add(_NAME_AND_TYPE, self.text(name), self.text(descriptor))
        return self.add(kind, of, described)


def dictionary(libraries: Path) -> bytes:
    """Return the class ``Tags`` of dcm4che below ``libraries``; empty where it is not clear.

    It is clear where exactly one archive holds the class, and that can be read.
    """
    try:
        found = list(_copies(libraries))
    except _UNREADABLE:
        return b""
    return found[0] if len(found) == 1 else b""


def _copies(libraries: Path) -> Iterator[bytes]:
    """The class from each archive, and from each part of one that is for some Java alone."""
    for path in sorted(libraries.rglob("*.jar")):
        if not path.is_file():
            continue
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name == TAGS_CLASS or name.endswith(f"/{TAGS_CLASS}"):
                    with archive.open(name) as entry:
                        yield entry.read(_LARGEST)


def names(tags_class: bytes) -> dict[int, str]:
    """Return the names that a class ``Tags`` has for tags; empty where it cannot be read."""
    try:
        constants = class_constants(tags_class)
    except (struct.error, IndexError, KeyError, ValueError):
        return {}
    return {tag: name for name, tag in constants.items() if _NAME.fullmatch(name)}


def remembering(tags_class: bytes) -> bytes:
    """Return the class with a ``forName`` that remembers; empty where that cannot be done."""
    try:
        known = class_constants(tags_class)
        found = _remembering(tags_class)
        return found if class_constants(found) == known else b""
    except (struct.error, IndexError, KeyError, ValueError):
        return b""


def class_constants(data: bytes) -> dict[str, int]:
    """Return the public static constants of type int of a Java class (JVMS 4), unsigned.

    Raises ``ValueError``, ``KeyError``, ``IndexError`` or ``struct.error`` for anything else.
    """
    pool = _constant_pool(data)
    constants = {}
    for each in _members(data, pool, _fields_at(data, pool))[0]:
        place = each.attributes.get("ConstantValue")
        is_public = each.access & _PUBLIC_STATIC == _PUBLIC_STATIC
        if place is not None and each.descriptor == "I" and is_public:
            constants[each.name] = pool.integers[struct.unpack_from(">H", data, place)[0]]
    return constants


def _constant_pool(data: bytes) -> _Pool:
    magic, _, _, count = struct.unpack_from(">IHHH", data)
    if magic != 0xCAFEBABE:
        raise ValueError("no Java class")
    at, place = 10, 1
    texts: dict[int, str] = {}
    integers: dict[int, int] = {}
    classes: dict[int, int] = {}
    while place < count:
        kind = data[at]
        if kind == _UTF8:
            (length,) = struct.unpack_from(">H", data, at + 1)
            texts[place] = data[at + 3 : at + 3 + length].decode("utf-8", "replace")
            at += 3 + length
        else:
            if kind == _INTEGER:
                (integers[place],) = struct.unpack_from(">I", data, at + 1)
            elif kind == _CLASS:
                (classes[place],) = struct.unpack_from(">H", data, at + 1)
            at += 1 + _SIZES[kind]
        place += 2 if kind in _TWO_PLACES else 1
    return _Pool(count, at, texts, integers, classes)


def _fields_at(data: bytes, pool: _Pool) -> int:
    (interfaces,) = struct.unpack_from(">H", data, pool.end + 6)
    return pool.end + 8 + 2 * int(interfaces)


def _members(data: bytes, pool: _Pool, at: int) -> tuple[list[_Member], int]:
    """The fields or methods whose number stands at that place, and where they end."""
    (count,) = struct.unpack_from(">H", data, at)
    at += 2
    found = []
    for _ in range(count):
        begin = at
        access, name, descriptor = struct.unpack_from(">HHH", data, at)
        attributes, at = _attributes(data, pool, at + 6)
        names = pool.texts[name], pool.texts[descriptor]
        found.append(_Member(access, *names, begin, at, attributes))
    return found, at


def _attributes(data: bytes, pool: _Pool, at: int) -> tuple[dict[str, int], int]:
    """The attributes whose number stands at that place, by name, and where they end."""
    (count,) = struct.unpack_from(">H", data, at)
    at += 2
    found = {}
    for _ in range(count):
        name, length = struct.unpack_from(">HI", data, at)
        found[pool.texts[name]] = at + 6
        at += 6 + length
    return found, at


def _stands_alone(pool: _Pool, access: int, this: int, members: list[_Member]) -> bool:
    """Whether the class does on the boot class path what it does among CTP's.

    There it finds classes of Java alone, and those of its own package see what is public.
    """
    own = pool.texts[pool.classes[this]]
    others = [pool.texts[name] for place, name in pool.classes.items() if place != this]
    for each in members:
        others += re.findall(r"L([^;]+);", each.descriptor)
    return (
        f"{own}.class" == TAGS_CLASS
        and bool(access & _PUBLIC)
        and all(name == own or _OF_JAVA.fullmatch(name) for name in others)
        # What a compiler adds for the class itself has a $ in its name, or <.
        and all(each.access & (_PUBLIC | _PRIVATE) or {*each.name} & {*"$<"} for each in members)
        and not {_SEARCH, _FOUND} & {each.name for each in members}
    )


def _remembering(data: bytes) -> bytes:
    pool = _constant_pool(data)
    (version,) = struct.unpack_from(">H", data, 6)
    access, this = struct.unpack_from(">HH", data, pool.end)
    fields_at = _fields_at(data, pool)
    fields, methods_at = _members(data, pool, fields_at)
    methods, end = _members(data, pool, methods_at)
    is_whole = _attributes(data, pool, end)[1] == len(data)
    (old,) = (each for each in methods if (each.name, each.descriptor) == _LOOK_UP)
    is_static = old.access & _PUBLIC_STATIC == _PUBLIC_STATIC
    if (
        version >= _STACK_MAPS
        or access & _INTERFACE
        or not is_static
        or not is_whole
        or not _stands_alone(pool, access, this, [*fields, *methods])
        or "Code" not in old.attributes
    ):
        raise ValueError("another class than dcm4che's")
    new_code = _new_look_up(pool, this)
    table = struct.pack(
        ">HHHH", _PRIVATE_STATIC_SYNTHETIC, pool.text(_FOUND), pool.text(f"L{_MAP};"), 0
    )
    # The old method keeps all but its name and that everybody may call it.
    renamed = struct.pack(">HH", _PRIVATE_STATIC_SYNTHETIC, pool.text(_SEARCH))
    name, descriptor = struct.unpack_from(">HH", data, old.begin + 2)
    added = struct.pack(">HHHH", old.access, name, descriptor, 1) + new_code
    return b"".join(
        (
            data[:8],
            struct.pack(">H", pool.count),
            data[10 : pool.end],
            pool.added,
            data[pool.end : fields_at],
            struct.pack(">H", len(fields) + 1),
            data[fields_at + 2 : methods_at],
            table,
            struct.pack(">H", len(methods) + 1),
            data[methods_at + 2 : old.begin],
            renamed,
            data[old.begin + 4 : end],
            added,
            data[end:],
        )
    )


def _new_look_up(pool: _Pool, this: int) -> bytes:
    """The attribute Code of the new method.

    Local variables: 0 the name, 1 the table, 2 the tag, or what was thrown for a name that is none:
    a script has elements that the dictionary does not know yet, by their numbers.
    """
    a_map, an_integer = pool.of_class(_MAP), pool.of_class("java/lang/Integer")
    no_name = pool.of_class("java/lang/IllegalArgumentException")
    table = pool.member(_FIELD, this, _FOUND, f"L{_MAP};")
    search = pool.member(_METHOD, this, _SEARCH, _LOOK_UP[1])
    create = pool.member(_METHOD, a_map, "<init>", "()V")
    get = pool.member(_METHOD, a_map, "get", "(Ljava/lang/Object;)Ljava/lang/Object;")
    both = "(Ljava/lang/Object;Ljava/lang/Object;)Ljava/lang/Object;"
    put = pool.member(_METHOD, a_map, "put", both)
    size = pool.member(_METHOD, a_map, "size", "()I")
    boxed = pool.member(_METHOD, an_integer, "valueOf", "(I)Ljava/lang/Integer;")
    value = pool.member(_METHOD, an_integer, "intValue", "()I")
    # Two threads that come first make two tables, of which one is kept: it only costs time.
    code = b"".join(
        (
            struct.pack(">BHB", 0xB2, table, 0x4C),  # 0 getstatic, astore_1
            struct.pack(">BBh", 0x2B, 0xC7, 15),  # 4 aload_1, ifnonnull 20
            struct.pack(">BHB", 0xBB, a_map, 0x59),  # 8 new, dup
            struct.pack(">BHB", 0xB7, create, 0x4C),  # 12 invokespecial, astore_1
            struct.pack(">BBH", 0x2B, 0xB3, table),  # 16 aload_1, putstatic
            struct.pack(">BBBH", 0x2B, 0x2A, 0xB6, get),  # 20 aload_1, aload_0, invokevirtual
            struct.pack(">BBBh", 0x4D, 0x2C, 0xC7, 32),  # 25 astore_2, aload_2, ifnonnull 59
            struct.pack(">BBH", 0x2A, 0xB8, search),  # 30 aload_0, invokestatic
            struct.pack(">BHB", 0xB8, boxed, 0x4D),  # 34 invokestatic, astore_2
            struct.pack(">BhB", 0xA7, 4, 0x4D),  # 38 goto 42; 41 astore_2
            struct.pack(">BBHBh", 0x2B, 0xB6, size, 0x11, _MOST),  # 42 aload_1, size, sipush
            struct.pack(">Bh", 0xA2, 10),  # 49 if_icmpge 59
            struct.pack(">BBB", 0x2B, 0x2A, 0x2C),  # 52 aload_1, aload_0, aload_2
            struct.pack(">BHB", 0xB6, put, 0x57),  # 55 invokevirtual, pop
            struct.pack(">BBH", 0x2C, 0xC1, an_integer),  # 59 aload_2, instanceof
            struct.pack(">BhBBHB", 0x9A, 8, 0x2C, 0xC0, no_name, 0xBF),  # 63 ifne 71, throw it
            struct.pack(">BBH", 0x2C, 0xC0, an_integer),  # 71 aload_2, checkcast
            struct.pack(">BHB", 0xB6, value, 0xAC),  # 75 invokevirtual, ireturn
        )
    )
    # Stack and local variables, the instructions, one handler (41) and no attributes.
    content = struct.pack(">HHI", 3, 3, len(code)) + code
    content += struct.pack(">HHHHHH", 1, 30, 41, 41, no_name, 0)
    return struct.pack(">HI", pool.text("Code"), len(content)) + content
