"""The net for completeness: what leaves is what the script makes of what came, no less and no more.

CTP carries out the rendered script, and so does ``ctp_rules``, which was written by its source and
the standard and shares no code with it. Both are given the same data set, and have to agree about
each element, at every level. Where they do not, the object does not leave.

They can only agree when both have the same script and the same table. Either may have changed
between the reception of an object and the time at which CTP anonymized it, or have changed since.
So an object may fit any script and any row of the table that was in force from its reception on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import whole_files
from ctp_rules import encoded, script
from ctp_rules.anonymizer import Anonymizer, Lookup, QuarantineError, Refusal, path_text
from ctp_rules.comparison import Difference, Kind
from ctp_rules.encoded import Encoded, UnreadableError
from ctp_rules.names import Named, merged
from ctp_rules.script import Script

from ..data_set import blanking
from ..dicom.encoding import IMPLICIT, Bytes
from ..lookup.order import Order
from ..lookup.tables import Tables
from ..settings import Declared
from .arrivals import Arrivals, Came, Record, Split

LOG = logging.getLogger(__name__)

MOST_SHOWN = 5
_ALL = 1 << 32
_UNKNOWN = "nothing is known of what came"
_UNREADABLE = "what came cannot be read"
_MERGED = "has structures that would leave under one name, and did not come so: their numbers"
_MERGED += " are missing or the same"
_BLANKED_NOT = "(7FE0,0010): not blanked:"
_DIFFERENT = "what came under its UID is declared to be blanked in different ways"
_NOT_CLAIMED = "it is declared to be blanked, and was anonymized before it was"
_NOT_DECLARED = "it says that it is blanked, and nothing of it is declared to be"


@dataclass(frozen=True)
class Finding:
    """Why an object must not leave. Paths of elements, never a value."""

    why: str
    uid: str = ""
    """SOP Instance UID that it came with, where that is known."""
    incomplete: bool = True
    """Not: it has something that it must not have."""
    weight: int = field(default=_ALL, compare=False)
    """How many elements differ."""


class Scripts:
    """The script of a pipeline, and those that were in force when objects came that wait.

    Without the site's key, which they have a placeholder for.
    """

    def __init__(
        self, directory: Path, content: bytes, keyed: Callable[[bytes], bytes], order: Order
    ) -> None:
        """``keyed`` puts the key in. Raises ``OSError``, ``ScriptError``: this one is not read."""
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.current = Anonymizer(script.parse(keyed(content)))
        files = self._files()
        for at, _ in files:
            order.saw(at)
        if not files or files[-1][1].read_bytes() != content:
            now = order.next()
            path = directory / f"{now}.script"
            whole_files.replace(path, content)
            files.append((now, path))
        self.began = files[-1][0]
        """When this one came into force."""
        self._earlier: list[tuple[int, Anonymizer]] = []
        """When each was replaced; the latest first."""
        for (_, path), (until, _) in zip(reversed(files[:-1]), reversed(files[1:])):
            try:
                self._earlier.append((until, Anonymizer(script.parse(keyed(path.read_bytes())))))
            except script.ScriptError as error:
                LOG.error("An earlier script of CTP cannot be read: %s", error)

    def since(self, came: int) -> Iterator[Anonymizer]:
        """Each that CTP may have used for an object that came then, the latest first."""
        yield self.current
        for until, anonymizer in self._earlier:
            if until >= came:
                yield anonymizer

    def forget(self, before: int) -> None:
        """Forget those that were replaced before the oldest object came. Raises ``OSError``."""
        files = self._files()
        for (_, path), (until, _) in zip(files, files[1:]):
            if until < before:
                path.unlink(missing_ok=True)
        self._earlier = [each for each in self._earlier if each[0] >= before]

    def _files(self) -> list[tuple[int, Path]]:
        found = [p for p in self._directory.glob("*.script") if p.stem.isdigit()]
        return sorted((int(path.stem), path) for path in found)


class Whole:
    """Judges what leaves one pipeline."""

    def __init__(
        self,
        arrivals: Arrivals,
        scripts: Scripts,
        tables: Tables,
        declared: Sequence[Declared] = (),
    ) -> None:
        """``declared``: what is to be blanked."""
        self.arrivals = arrivals
        self._declared = tuple(declared)
        self._scripts = scripts
        self._tables = tables
        self._lock = threading.Lock()

    @property
    def script(self) -> Script:
        """The script that is in force."""
        return self._scripts.current.script

    @property
    def since(self) -> int:
        """When that script came into force, in nanoseconds since 1970."""
        return self._scripts.began

    def begin(self, transfer_syntax: str, uid: str) -> Departure:
        """An object is about to leave under this SOP Instance UID. Raises ``OSError``."""
        return Departure(self, transfer_syntax == IMPLICIT, uid, self._tasks(uid))

    def _tasks(self, uid: str) -> frozenset[blanking.Task]:
        """What may be to be blanked in an object that leaves under this UID. Raises ``OSError``.

        More than one where it came in several forms, such as compressed, which waits in quarantine,
        and then as it can be blanked.
        """
        if not self._declared:
            return frozenset()
        found: set[blanking.Task | None] = set()
        for record in self.arrivals.of(uid):
            with record.opened() as came:
                if came is not None and came.readable and not came.waived:
                    found.add(blanking.task(came.header, self._declared))
        tasks = frozenset(each for each in found if each is not None)
        if tasks and None in found:
            return frozenset({blanking.Task((), problem=_DIFFERENT)})
        return tasks

    def forget(self) -> None:
        """Forget what no object needs any more that waits. Raises ``OSError``."""
        self._scripts.forget(self.arrivals.oldest())

    def judge(self, uid: str, split: Split, blanker: blanking.Blanker | None) -> Record | Finding:
        """Return which arrival it is, or why it must not leave. ``blanker``: of its regions.

        Raises ``OSError``, also where what came cannot be read now and may be what was to be
        compared: that says nothing of the object, which is to be sent again.
        """
        nearest = Finding(_UNKNOWN)
        failed: OSError | None = None
        seen: set[str] = set()
        with split.header() as left:
            unfit = _not_blanked(left, blanker)
            for record in self.arrivals.of(uid):
                if record.content in seen:
                    continue
                try:
                    with record.opened() as came:
                        if came is None:
                            continue
                        seen.add(record.content)
                        found = self._compare(record, came, left, split.pixels())
                        if isinstance(found, tuple):
                            why = unfit or self._unlike(came, blanker)
                            if why:
                                found = Finding(why, came.uid, incomplete=False, weight=0)
                except OSError as error:
                    LOG.error("What is kept of an object cannot be read (%s)", error.strerror)
                    failed = error
                    continue
                if isinstance(found, tuple):
                    return replace(record, names=found)
                if nearest.why == _UNKNOWN or found.weight < nearest.weight:
                    nearest = found
        if failed is not None:
            raise failed
        return nearest

    def _unlike(self, came: Came, blanker: blanking.Blanker | None) -> str:
        """Why what was blanked is not what is to be blanked in this arrival; empty: it is."""
        if not self._declared or came.waived:
            return ""
        wanted = blanking.task(came.header, self._declared)
        used = None if blanker is None else blanker.task
        return "" if wanted == used else f"{_BLANKED_NOT} {_DIFFERENT}"

    def _compare(
        self, record: Record, came: Came, left: Encoded, pixels: str
    ) -> Finding | tuple[Named, ...]:
        """Return why it is not this arrival, or else the names of structures that changed."""
        if came.waived:
            return ()
        if not came.readable:
            return Finding(_UNREADABLE, came.uid)
        if came.hidden:
            why = f"(7FE0,0010): what is beside the image cannot be told: {came.hidden}"
            return Finding(why, came.uid, incomplete=False, weight=0)
        nearest: Finding | None = None
        with self._lock:
            for anonymizer in self._scripts.since(record.came):
                for lookup in self._tables.since(record.came):
                    found = _judged(anonymizer, came, left, lookup)
                    if isinstance(found, tuple):
                        if came.pixels is not None and came.pixels != pixels:
                            return Finding("(7FE0,0010): not as it came", came.uid, weight=0)
                        return found
                    if nearest is None or found.weight < nearest.weight:
                        nearest = found
        return nearest or Finding(_UNKNOWN)


def _not_blanked(left: Encoded, blanker: blanking.Blanker | None) -> str:
    """Why what should be blanked is not; empty: it is, and says so, or nothing should be."""
    is_claimed = blanking.claims(left)
    if blanker is None:
        why = _NOT_DECLARED if is_claimed else ""
    else:
        why = blanker.finish() or ("" if is_claimed else _NOT_CLAIMED)
    return why and f"{_BLANKED_NOT} {why}"


def _judged(
    anonymizer: Anonymizer, came: Came, left: Encoded, lookup: Lookup
) -> Finding | tuple[Named, ...]:
    shown: list[Difference] = []
    names: list[Named] = []
    count = 0
    try:
        for each in encoded.differences(anonymizer, came.header, left, lookup, names):
            count += 1
            if len(shown) < MOST_SHOWN:
                shown.append(each)
    except UnreadableError:
        return Finding(_UNREADABLE, came.uid)
    except QuarantineError as error:
        if error.refusal is Refusal.UNREADABLE:
            # The tag may be a piece of a text.
            return Finding(_UNREADABLE, came.uid)
        return Finding(f"CTP should have held it back: {error}", came.uid)
    if not count:
        sequence = merged(names)
        if sequence is not None:
            return Finding(f"{path_text(sequence)} {_MERGED}", came.uid, weight=1)
        return tuple(each for each in names if each.changed)
    parts = [f"{path_text(each.path)} {_WORDS[each.kind]}" for each in shown]
    if count > len(shown):
        parts.append(f"{count - len(shown)} more")
    incomplete = any(each.kind is not Kind.UNEXPECTED for each in shown)
    return Finding(", ".join(parts), came.uid, incomplete, count)


_WORDS = {
    Kind.MISSING: "is missing",
    Kind.UNEXPECTED: "should not be there",
    Kind.VALUE: "has another value",
    Kind.REPRESENTATION: "has another value representation",
    Kind.DOUBLED: "came more than once",
}


class Departure:
    """One object on its way out."""

    def __init__(
        self,
        whole: Whole,
        implicit: bool,
        uid: str,
        tasks: Collection[blanking.Task] = (),
    ) -> None:
        """``tasks``: one of them is what is to be blanked; which one, its header tells."""
        self._whole = whole
        self._implicit = implicit
        self._blankers = [blanking.Blanker(each, implicit) for each in tasks]
        self._uid = uid
        self._split = Split(implicit, whole.arrivals.directory)

    def feed(self, fragment: memoryview, pixels_at: int | None) -> Bytes:
        """Take the next piece; ``pixels_at`` as soon as it is known. Return what is to leave, which
        has the same length. Raises ``OSError``."""
        self._split.take(fragment, pixels_at)
        if pixels_at is not None and len(self._blankers) > 1:
            self._choose()
        # In front of the pixel data none of them changes anything.
        leaves: Bytes = fragment
        for each in self._blankers:
            leaves = each.feed(fragment, pixels_at)
        return leaves

    def _choose(self) -> None:
        with self._split.header() as left:
            fitting = [each for each in self._blankers if blanking.fits(each.task, left)]
        if len(fitting) != 1:
            nothing = blanking.Task((), problem=_DIFFERENT)
            fitting = [blanking.Blanker(nothing, self._implicit)]
        self._blankers = fitting

    def judge(self) -> Record | Finding:
        """All of it is here. Raises ``OSError``."""
        if len(self._blankers) > 1:  # it has no pixel data
            self._choose()
        return self._whole.judge(self._uid, self._split, next(iter(self._blankers), None))

    def close(self) -> None:
        """Forget it."""
        self._split.close()
