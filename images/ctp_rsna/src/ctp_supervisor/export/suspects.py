"""Objects that Orthanc ended at: how often, across restarts, and from when on they are held back.

An object is no culprit because it was on its way when Orthanc went. It counts what happened while
nothing else was on its way: an object that was under suspicion once is sent alone (lanes.py), and
an innocent one then passes and is forgotten. Where Orthanc ends at whatever it gets, and stores
nothing in between, the fault is its own, and all of them have more tries.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Set
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import whole_files

from ..machine.disk import MIB

LOG = logging.getLogger(__name__)

TRIES = 3
"""Times that Orthanc may end at an object."""
TRIES_ALONE = 2
"""Of these, at least so many with nothing else on its way."""
TRIES_AT_MOST = 6
"""Where Orthanc stores no other object either."""
_KEEP_SECONDS = 60.0
"""CTP needs some time to put an object into its quarantine."""


@dataclass
class Suspect:
    """What happened with one object."""

    sop_class_uid: str
    size: int = 0
    """Bytes that had been sent of it at the latest try; all of it when ``whole``."""
    whole: bool = False
    tries: int = 0
    alone: int = 0
    others: bool = False
    """Whether Orthanc has stored another object since the first try."""
    what: str = ""
    """How the latest try ended."""
    held: float = 0.0
    """Since when it is held back (seconds since 1970); 0: it is not."""
    largest_mib: int = 0
    """The largest object that the site had declared then, in MiB."""

    def why(self) -> str:
        """What an operator has to know of it. Nothing of it identifies a patient."""
        size = f"{self.size / MIB:.0f} MiB" + ("" if self.whole else " or more")
        return f"{self.what}, {self.tries} times; {size}, SOP class {self.sop_class_uid}"


class Suspects:
    """By SOP Instance UID, as CTP's script made it, in a file of JSON."""

    def __init__(self, data: Path, largest_mib: int = 0) -> None:
        """``largest_mib``: the largest object that the site declares."""
        self._path = data / "export-suspects.json"
        self._largest_mib = largest_mib
        self._lock = threading.Lock()
        self._suspects: dict[str, Suspect] = self._load()

    def __contains__(self, uid: object) -> bool:
        return uid in self._suspects

    def held(self, uid: str) -> Suspect | None:
        """The record of an object that is held back."""
        found = self._suspects.get(uid)
        return found if found is not None and found.held else None

    def all_held(self) -> list[Suspect]:
        """The records of all objects that are held back."""
        with self._lock:
            return [each for each in self._suspects.values() if each.held]

    def broke(
        self, uid: str, sop_class_uid: str, size: int, whole: bool, what: str, alone: bool
    ) -> bool:
        """Orthanc ended while this object was on its way; whether it is held back from now on.

        On disk when this returns, if the disk takes it.
        """
        with self._lock:
            suspect = self._suspects.setdefault(uid, Suspect(sop_class_uid))
            suspect.tries += 1
            suspect.alone += alone
            suspect.what = what
            suspect.size, suspect.whole = max(size, suspect.size), whole or suspect.whole
            if self._is_culprit(uid, suspect):
                suspect.held = time.time()
                suspect.largest_mib = self._largest_mib
            self._save()
            return bool(suspect.held)

    def _is_culprit(self, uid: str, suspect: Suspect) -> bool:
        if suspect.tries >= TRIES_AT_MOST:
            return True
        doubtful = not suspect.others and any(
            other.alone and not other.held for each, other in self._suspects.items() if each != uid
        )
        return suspect.tries >= TRIES and suspect.alone >= TRIES_ALONE and not doubtful

    def answered(self, uid: str, stored: bool) -> None:
        """Orthanc lived to answer for this object."""
        if not self._suspects:
            return
        with self._lock:
            changed = self._suspects.pop(uid, None) is not None
            if stored:
                for each in self._suspects.values():
                    changed = changed or not each.others
                    each.others = True
            if changed:
                self._save()

    def may_be_released(self, uid: str, present: Set[str]) -> bool:
        """Whether the site has made room since: it declares larger objects, and one as large.

        ``present``: what lies in the quarantines of the exports. Where one that is held back is not
        among it, an object that nothing is known of may be it.
        """
        with self._lock:
            found = self._suspects.get(uid)
            held = [found] if found is not None else self._under_another_uid(present)
            return all(
                not each.held
                or (each.largest_mib < self._largest_mib and each.size <= self._largest_mib * MIB)
                for each in held
            )

    def forget(self, uid: str) -> None:
        """An operator wants it sent again."""
        with self._lock:
            if self._suspects.pop(uid, None) is not None:
                self._save()

    def release(self, uid: str, present: Set[str]) -> None:
        """Forget an object that may be released, under whatever UID it is known."""
        with self._lock:
            others = [] if uid in self._suspects else self._under_another_uid(present)
            self._suspects = {
                known: each
                for known, each in self._suspects.items()
                if known != uid and each not in others
            }
            self._save()

    def lie_under_another_uid(self, present: Set[str]) -> bool:
        """Whether one that is held back is not among ``present``: the stand-in keeps an object in
        quarantine under the UID that it came with, and any of them may be it."""
        with self._lock:
            return bool(self._under_another_uid(present))

    def _under_another_uid(self, present: Set[str]) -> list[Suspect]:
        return [each for uid, each in self._suspects.items() if each.held and uid not in present]

    def keep(self, present: Set[str]) -> None:
        """Forget those that are held back and lie in no quarantine any more.

        ``present``: what lies in those of the exports. The stand-in keeps an object there under the
        UID that it came with: then only an empty quarantine tells.
        """
        oldest = time.time() - _KEEP_SECONDS
        with self._lock:
            if present and not present & set(self._suspects):
                return
            gone = [
                uid
                for uid, each in self._suspects.items()
                if each.held and each.held < oldest and uid not in present
            ]
            for uid in gone:
                del self._suspects[uid]
            if gone:
                self._save()

    def _load(self) -> dict[str, Suspect]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            names = {each.name for each in fields(Suspect)}
            return {
                str(uid): Suspect(**{name: row[name] for name in names if name in row})
                for uid, row in found.items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
            LOG.error("%s cannot be read (%s)", self._path, type(error).__name__)
            return {}

    def _save(self) -> None:
        found = {uid: asdict(each) for uid, each in self._suspects.items()}
        try:
            whole_files.replace(self._path, json.dumps(found))
        except OSError as error:
            LOG.error("%s cannot be written (%s)", self._path, type(error).__name__)
