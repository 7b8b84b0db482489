"""Files that are replaced as a whole: whoever opens one finds the old content or the new one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def replace(
    path: Path,
    content: str | bytes,
    durable: bool = True,
    stamp: Callable[[Path], None] | None = None,
) -> None:
    """Give a file this content and the mode 0600; a text is encoded as UTF-8.

    ``durable``: on disk when this returns; without, a power cut may leave an empty file. ``stamp``
    is called with the new file before it takes its place. Raises ``OSError``: the file is as it
    was. What is left of an attempt, besides it and with ``.new`` behind its name, the next one
    overwrites.
    """
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    if stamp is not None:
        stamp(temporary)
    temporary.rename(path)
    if durable:
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Have the names in a directory on disk. Raises ``OSError``."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
