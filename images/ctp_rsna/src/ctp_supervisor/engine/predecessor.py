"""What the stand-in has left that worked alone on the same data, before the supervisor came.

That was flavour ``standin``, as in every simulation before (decision 33). It keeps the objects that
it acknowledged, as they came, in directories of its own (``ctp_standin.spool``)::

    incoming/<id>.dcm              to be forwarded
    quarantine/<reason>/<id>.dcm   held back
    receiving/<id>.part            never acknowledged
    counters.json                  forwarded, deleted, and the id that was counted last

No CTP looks there. Both kinds go into the queue of the first pipeline, whose rules the stand-in
had, and are judged anew; the key of the UIDs lies where the supervisor has its own.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import whole_files

from ..settings import Pipeline, Settings
from .recovery import requeue

LOG = logging.getLogger(__name__)

_ID = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8}")


def take_over(settings: Settings) -> int:
    """Queue what is there and return how many objects that were.

    Broken off, or on a full disk, it goes on at the next start.
    """
    taken = 0
    try:
        for _ in _take_over(settings.data, settings.pipelines[0]):
            taken += 1
    except OSError as error:
        LOG.error(
            "What the stand-in has left that worked here alone before cannot be taken over (%s);"
            " the next start does",
            error.strerror,
        )
    if taken:
        LOG.warning(
            "The stand-in that worked here alone before has left %d objects, in its queue or in"
            " quarantine: they are queued again",
            taken,
        )
    return taken


def _take_over(data: Path, pipeline: Pipeline) -> Iterator[Path]:
    """Queue one after the other."""
    found = _objects(data)
    last = _count_anew(data / "counters.json", found)
    queue = pipeline.stage("import").root / "queue"
    for path in found:
        if path.stem == last:
            path.unlink()  # it was forwarded or deleted, and counted
        else:
            requeue(path, queue)
            yield path
    own = [data / name for name in ("quarantine", "incoming", "receiving")]
    for path in own[2].glob("*.part"):
        path.unlink()
    for directory in (*own[0].glob("*"), *own):
        with contextlib.suppress(OSError):
            directory.rmdir()  # what somebody else put there stays


def _objects(data: Path) -> list[Path]:
    """The objects, in the order in which they came."""
    found = [*data.glob("incoming/*.dcm"), *data.glob("quarantine/*/*.dcm")]
    ours = [path for path in found if _ID.fullmatch(path.stem) and path.is_file()]
    return sorted(ours, key=lambda path: path.stem)


def _count_anew(path: Path, found: list[Path]) -> str:
    """Count as the supervisor does, once; return the id that the stand-in counted last.

    Raises ``OSError``: the counts cannot be written, and nothing may be moved.
    """
    try:
        counts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        last = str(counts.get("last", ""))
        if "received" in counts or not {"forwarded", "deleted", "last"} <= counts.keys():
            return last
        forwarded, deleted = int(counts["forwarded"]), int(counts["deleted"])
    except FileNotFoundError:
        if not found:
            return ""
        forwarded, deleted, last = 0, 0, ""
    except (OSError, ValueError, TypeError, AttributeError):
        return ""  # the counts are not known, and it is said where they are read
    waiting = sum(each.stem != last for each in found)
    counts = {"received": forwarded + deleted + waiting, "forwarded": forwarded}
    whole_files.replace(path, json.dumps({**counts, "deleted": deleted, "last": last}))
    return last
