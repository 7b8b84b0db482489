"""A class of Java and an archive that holds it, in the place of dcm4che's dictionary."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

from ctp_supervisor.engine import tags_class


def java_class(
    constants: dict[str, int],
    look_up: str = "forName",
    access: int = 0x0019,
    version: int = 48,
    *,
    name: str = "org/dcm4che/dict/Tags",
    names: str = "java/lang/Class",
    hidden: int = 0x001A,
    of: int = 0x0021,
) -> bytes:
    """A class as javac writes it: int constants, and what else such a class can have.

    ``names`` is another class that it names, ``hidden`` the access of a field (private), ``of``
    that of the class itself (public).
    """
    pool: list[bytes] = []

    def add(entry: bytes, places: int = 1) -> int:
        pool.append(entry)
        pool.extend([b""] * (places - 1))
        return len(pool) - places + 1

    def text(value: str) -> int:
        return add(struct.pack(">BH", 1, len(value)) + value.encode())

    long = add(struct.pack(">Bq", 5, -1), places=2)
    this = add(struct.pack(">BH", 7, text(name)))
    above = add(struct.pack(">BH", 7, text("java/lang/Object")))
    for each in (names, "[Ljava/lang/String;", "[[C"):
        add(struct.pack(">BH", 7, text(each)))
    add(struct.pack(">BHH", 10, this, add(struct.pack(">BHH", 12, text("a"), text("()V")))))
    constant, descriptor = text("ConstantValue"), text("I")
    fields = []

    def field(access: int, name: str, of: int, value: int | None) -> None:
        fields.append(struct.pack(">HHHH", access, text(name), of, value is not None))
        if value is not None:
            fields.append(struct.pack(">HIH", constant, 2, value))

    for name, value in constants.items():
        field(0x0019, name, descriptor, add(struct.pack(">BI", 3, value)))
    field(hidden, "hidden", descriptor, add(struct.pack(">BI", 3, 7)))
    field(0x0008, "class$", text("Ljava/lang/Class;"), None)  # as javac 1.4 adds it
    field(0x0019, "Long", text("J"), long)
    field(0x0009, "computed", descriptor, None)
    body = struct.pack(">HHHHH", of, this, above, 1, above)
    body += struct.pack(">H", len(constants) + 4) + b"".join(fields)
    code = struct.pack(">HHI", 1, 1, 2) + b"\x03\xac" + struct.pack(">HH", 0, 0)  # return 0
    of_string = text("(Ljava/lang/String;)I")
    body += struct.pack(">HHHHH", 1, access, text(look_up), of_string, 1)
    body += struct.pack(">HI", text("Code"), len(code)) + code + struct.pack(">H", 0)
    return struct.pack(">IHHH", 0xCAFEBABE, 0, version, len(pool) + 1) + b"".join(pool) + body


def archive(path: Path, content: bytes | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "")
        if content is not None:
            jar.writestr(tags_class.TAGS_CLASS, content)
