"""What CTP could not deliver: why, and how it goes round again."""

from __future__ import annotations

import http.client
import json
import logging
import os
import struct
import threading
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs

import whole_files
from ctp_rules import refusals as profile_words
from ctp_rules.refusals import Refused

from ..dicom import part10
from ..engine.process import Client
from ..export import egress
from ..export.refusals import Refusals
from ..export.suspects import Suspects
from ..lookup import keydb
from ..machine.disk import MIB
from ..machine.files import files_in
from ..settings import Pipeline
from .arrivals import Arrivals
from .profile import Profile
from .trials import TRIES, Trials
from .unpacking import Plan, ProblemError, Unpacker

LOG = logging.getLogger(__name__)

UNREADABLE = profile_words.UNREADABLE
MISSING_PATIENT_ID = profile_words.MISSING_PATIENT_ID
UNKNOWN_PATIENT = profile_words.UNKNOWN_PATIENT
OTHER_ISSUER = "other-issuer"
KNOWN_PATIENT = "known-patient"
AMBIGUOUS_PATIENT_ID = profile_words.AMBIGUOUS_PATIENT_ID
INCOMPLETE = profile_words.INCOMPLETE
RESIDUAL_IDENTIFIER = "residual-identifier"
REFUSED_BY_ORTHANC = "refused-by-orthanc"
ENDED_CTP = "ended-ctp"
PIXELS_NOT_BLANKED = profile_words.PIXELS_NOT_BLANKED
RELEASABLE = (KNOWN_PATIENT, REFUSED_BY_ORTHANC)

_BY_STATE = {
    keydb.KNOWN: KNOWN_PATIENT,
    keydb.OTHER_ISSUER: OTHER_ISSUER,
    keydb.UNKNOWN: UNKNOWN_PATIENT,
}

_Key = tuple[Path, int, int]
"""A file as it is: when it changes, it is another."""

AUTOMATIC_ATTEMPTS = 3
MOST_TRIED = 10_000
_PAUSES = (5.0, 30.0, 120.0)
_KEEP_SECONDS = 7 * 86400.0
_CHUNK = 256 * 1024


@dataclass(frozen=True)
class Quarantined:
    """One object. ``patient_id`` and ``issuer`` identify a patient: they leave this program
    nowhere."""

    pipeline: int
    stage: int
    kind: str
    path: Path
    sop_instance_uid: str
    patient_id: str | None
    arrived: float
    issuer: str = ""
    size: int = 0
    sop_class_uid: str = ""
    ended_ctp: bool = False
    ambiguous: bool = False
    mark: str = ""
    """What would have been lost of it: an element and what is wrong with it."""
    study: str = ""
    series: str = ""
    """Their UIDs, as in the file."""
    done: bool = False
    """Whether the file says that it is de-identified."""
    unpacked: bool = False
    """Whether its image was decompressed here."""

    @property
    def id(self) -> str:
        """What it is called from outside."""
        return f"{self.pipeline}-{self.stage}-{self.path.name}"

    def reason(
        self,
        known: keydb.Patients,
        refused: Container[str] = (),
        incomplete: Callable[[str], bool] = lambda _uid: False,
        profile: Callable[[Quarantined], Refused | None] = lambda _each: None,
    ) -> str:
        """Why it is here, as far as its stage, the lookup table and ``refused`` tell: what was
        kept from leaving, some of it because it is ``incomplete``. ``profile``: what the script
        itself says of an object of a known patient."""
        if self.ended_ctp:
            return ENDED_CTP
        if self.kind == "export" and self.sop_instance_uid not in refused:
            return REFUSED_BY_ORTHANC
        if self.kind == "export" and incomplete(self.sop_instance_uid):
            return INCOMPLETE
        if self.kind in ("filter", "export"):
            return RESIDUAL_IDENTIFIER
        if self.kind == "import" or self.patient_id is None:
            return UNREADABLE
        if not self.patient_id:
            return MISSING_PATIENT_ID
        if self.ambiguous:
            return AMBIGUOUS_PATIENT_ID
        state = _BY_STATE[known.state(self.patient_id, self.issuer)]
        if state != KNOWN_PATIENT:
            return state
        refuses = profile(self)
        if self.mark and (refuses is None or refuses.reason == INCOMPLETE):
            return INCOMPLETE
        return KNOWN_PATIENT if refuses is None else refuses.reason


class Notes(Protocol):
    """Who is told what is done with files in quarantine."""

    def removing(self, each: Quarantined, reason: str) -> None:
        """It is about to be removed for good."""
        ...  # pragma: no cover

    def removed(self, each: Quarantined) -> None:
        """It was."""
        ...  # pragma: no cover

    def released(self, each: Quarantined) -> None:
        """It is about to be sent round again."""
        ...  # pragma: no cover


class Quarantines:
    """All quarantines of all pipelines. Files are read once, and again when they change."""

    def __init__(
        self,
        pipelines: Sequence[Pipeline],
        data: Path,
        known: Callable[[], keydb.Patients],
        client: Client,
        refusals: Refusals,
        prefixes: Sequence[str] = (),
        suspects: Suspects | None = None,
        trials: Trials | None = None,
        notes: Notes | None = None,
        profiles: Sequence[Profile] = (),
        unpackers: Sequence[Unpacker] = (),
    ) -> None:
        """``known`` gives the lookup table, ``prefixes`` are those of pseudonyms. ``refusals`` and
        ``suspects``: what the relay kept from leaving, and why. ``notes`` is told what is
        done here. ``profiles``: what the scripts of the pipelines refuse by themselves;
        ``unpackers`` decompress what they refuse for being compressed."""
        self._data = data
        self._prefixes = tuple(prefixes)
        self._pipelines = pipelines
        self._known = known
        self._client = client
        self._notes = notes
        self._refusals = refusals
        self._trials = Trials(pipelines, data) if trials is None else trials
        self._suspects = Suspects(data) if suspects is None else suspects
        self._lock = threading.Lock()
        self._read: dict[_Key, Quarantined] = {}
        self._profiles = profiles
        self._asked: dict[Quarantined, Refused | None] = {}
        self._unpackers = unpackers
        self._plans: dict[Quarantined, Plan | str] = {}
        """Of compressed images that are to be blanked; a text: why they cannot be decompressed."""
        self._tried: dict[str, None] = {}
        """The latest that were sent on decompressed, by their UIDs: what comes back all the same is
        not sent on for ever."""
        self._arrivals = Arrivals(data / "quarantine-arrivals.jsonl")
        self._attempts_file = data / "export-attempts.json"
        self._attempts: dict[str, list[float]] = self._load_attempts()

    def scan(self) -> list[Quarantined]:
        """All that lies there now, oldest first."""
        with self._lock:
            seen: dict[_Key, Quarantined] = {}
            for pipeline in self._pipelines:
                for stage in pipeline.stages:
                    for path in files_in(stage.quarantine):
                        try:
                            found = path.stat()
                        except FileNotFoundError:
                            continue
                        key = (path, found.st_mtime_ns, found.st_size)
                        seen[key] = self._read.get(key) or self._came(
                            _read(pipeline.index, stage.index, stage.kind, path, found), found
                        )
            for pipeline, stage, path in self._trials.held():
                try:
                    found = path.stat()
                except FileNotFoundError:
                    continue
                key = (path, found.st_mtime_ns, found.st_size)
                seen[key] = self._read.get(key) or replace(
                    self._came(_read(pipeline.index, stage.index, stage.kind, path, found), found),
                    ended_ctp=True,
                )
            self._read = seen
            self._arrivals.keep({each.id for each in seen.values()})
            here = set(seen.values())
            for each in [each for each in self._asked if each not in here]:
                del self._asked[each]
            for each in [each for each in self._plans if each not in here]:
                del self._plans[each]
            return sorted(seen.values(), key=lambda each: each.arrived)

    def _came(self, each: Quarantined, status: os.stat_result) -> Quarantined:
        return replace(each, arrived=self._arrivals.of(each.id, status))

    def _reason(self, each: Quarantined, known: keydb.Patients) -> str:
        return self._judged(each, known)[0]

    def _judged(self, each: Quarantined, known: keydb.Patients) -> tuple[str, bool]:
        """Why it is here, and whether it is on its way all the same: it is to be decompressed."""
        reason = each.reason(
            known, self._refusals, self._refusals.is_incomplete, self._refused_by_profile
        )
        if reason == PIXELS_NOT_BLANKED and isinstance(self._plan(each), Plan):
            return KNOWN_PATIENT, each.arrived > self._unpackers[each.pipeline].since
        is_ready = each.unpacked and each.sop_instance_uid not in self._tried
        return reason, reason == KNOWN_PATIENT and is_ready

    def _plan(self, each: Quarantined) -> Plan | str:
        if not self._unpackers:
            return ""
        with self._lock:
            found = self._plans.get(each)
        if found is None:
            try:
                found = self._unpackers[each.pipeline].plan(each.path)
            except ProblemError as problem:
                found = str(problem)
            except OSError:
                return ""  # asked again at the next look
            with self._lock:
                self._plans[each] = found
        return found

    def _shown(self, known: keydb.Patients) -> list[tuple[Quarantined, str]]:
        """All that lies there and is not on its way, and why."""
        judged = [(each, *self._judged(each, known)) for each in self.scan()]
        return [(each, reason) for each, reason, on_its_way in judged if not on_its_way]

    def on_their_way(self) -> list[Quarantined]:
        """What is to be decompressed, or was and is to be sent on: of each study one, the oldest,
        before the others, so that no study waits for all of another."""
        if not self._unpackers:
            return []
        known = self._known()
        due = [each for each in self.scan() if self._judged(each, known)[1]]
        first: dict[str, Quarantined] = {}
        for each in due:
            first.setdefault(each.study, each)
        return [*first.values(), *(each for each in due if first[each.study] is not each)]

    def room_for(self, each: Quarantined) -> int:
        """How many bytes on the disk it takes to decompress one that is on its way."""
        with self._lock:
            plan = self._plans.get(each)
        # The frames alone, and the object.
        return 2 * plan.request.size + each.size if isinstance(plan, Plan) else 0

    def send_on(self, each: Quarantined, on_disk: Callable[[], None]) -> None:
        """Decompress one that is on its way, and let CTP have it.

        ``on_disk`` returns when all that was written is. Raises ``OSError``,
        ``http.client.HTTPException``: it is to be tried again.
        """
        if not each.unpacked:
            plan = self._plan(each)
            if isinstance(plan, str):
                return
            self._tried.pop(each.sop_instance_uid, None)
            try:
                self._unpackers[each.pipeline].unpack(each.path, plan, on_disk)
            except FileNotFoundError:
                return  # it was removed
            except ProblemError as problem:
                LOG.warning("An image to be blanked cannot be decompressed: %s", problem)
                with self._lock:
                    self._plans[each] = str(problem)
                return
        self._released(each)
        self._client.quarantine("queueFile", each.pipeline, each.stage, each.path.name)
        self._tried[each.sop_instance_uid] = None
        if len(self._tried) > MOST_TRIED:
            del self._tried[next(iter(self._tried))]

    def _refused_by_profile(self, each: Quarantined) -> Refused | None:
        """Ask the script, once for each file."""
        if not self._profiles:
            return None
        with self._lock:
            if each in self._asked:
                return self._asked[each]
        try:
            found = self._profiles[each.pipeline].refuses(each.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            LOG.error("A file in quarantine cannot be read (%s)", error.strerror)
            return None
        with self._lock:
            self._asked[each] = found
        return found

    def with_reasons(self) -> list[tuple[Quarantined, str]]:
        """All that lies there now, and why."""
        return self._shown(self._known())

    def listed(self) -> list[dict[str, str]]:
        """As the status shows them."""
        return [
            {
                "id": each.id,
                "sop_instance_uid": each.sop_instance_uid,
                "reason": reason,
                "received_at": datetime.fromtimestamp(each.arrived, timezone.utc).isoformat(
                    timespec="seconds"
                ),
                **self._held_back(each),
            }
            for each, reason in self._shown(self._known())
        ]

    def _held_back(self, each: Quarantined) -> dict[str, str]:
        if each.ended_ctp:
            size = f"{each.size / MIB:.0f} MiB"
            known = f", SOP class {each.sop_class_uid}" if each.sop_class_uid else ""
            return {"held_back": f"CTP ended, {TRIES} times; {size}{known}"}
        suspect = self._suspects.held(each.sop_instance_uid) if each.kind == "export" else None
        return {"held_back": suspect.why()} if suspect is not None else {}

    def detailed(self) -> list[dict[str, Any]]:
        """As who looks after the quarantine needs them: where each lies, and what was found.

        Nothing of it identifies a patient, but for the file itself.
        """
        found = []
        shown = self._shown(self._known())
        present = _exports(each for each, _ in shown)
        for each, reason in shown:
            found.append(
                {
                    "id": each.id,
                    "reason": reason,
                    "why": self._why(each, reason) or self._held_back(each).get("held_back", ""),
                    "releasable": self._may_go(each, reason, present),
                    "received_at": datetime.fromtimestamp(each.arrived, timezone.utc).isoformat(),
                    "pipeline": self._pipelines[each.pipeline].name,
                    "stage": each.kind,
                    "file": str(each.path.relative_to(self._data)),
                }
            )
        return found

    def _why(self, each: Quarantined, reason: str) -> str:
        """What kept an object from leaving: an element by its tag and what is wrong with it."""
        if reason == INCOMPLETE and each.mark:
            return each.mark
        with self._lock:
            asked, plan = self._asked.get(each), self._plans.get(each)
        if reason == PIXELS_NOT_BLANKED and isinstance(plan, str):
            return plan
        if asked is not None and asked.reason == reason:
            return asked.why
        if reason not in (INCOMPLETE, RESIDUAL_IDENTIFIER):
            return ""
        why = self._refusals.why(each.sop_instance_uid) if each.kind == "export" else ""
        if why:
            return why
        try:
            with each.path.open("rb") as file:
                checker = egress.Checker(part10.begin_data_set(file), self._prefixes)
                while chunk := file.read(_CHUNK):
                    checker.feed(chunk)
            checker.finish()
        except egress.Violation as violation:
            return str(violation)
        except (OSError, ValueError, EOFError, struct.error):
            return "it cannot be read"
        return "the pipeline's own filter"

    def _may_go(self, each: Quarantined, reason: str, present: Set[str]) -> bool:
        if each.ended_ctp:
            return self._trials.may_be_released(each.path)
        if reason != REFUSED_BY_ORTHANC:
            return reason in RELEASABLE
        return self._suspects.may_be_released(each.sop_instance_uid, present)

    def delete(self, object_ids: Container[str]) -> int:
        """Remove objects for good; return how many are gone."""
        deleted = 0
        known = self._known()
        for each in self.scan():
            if each.id in object_ids:
                # First, or one whose removal was not awaited would be taken for released.
                self._removing(each, known)
                if each.ended_ctp:
                    each.path.unlink(missing_ok=True)
                else:
                    self._client.quarantine("deleteFile", each.pipeline, each.stage, each.path.name)
                if not each.path.exists():
                    deleted += 1
                    if self._notes is not None:
                        self._notes.removed(each)
                self._suspects.forget(each.sop_instance_uid)
        return deleted

    def _removing(self, each: Quarantined, known: keydb.Patients) -> None:
        if self._notes is not None:
            self._notes.removing(each, self._reason(each, known))

    def _released(self, each: Quarantined) -> None:
        if self._notes is not None:
            self._notes.released(each)

    def release(self) -> dict[str, Any]:
        """Send round again what can get further now."""
        known = self._known()
        released = 0
        left: dict[str, int] = {}
        by_stage: dict[tuple[int, int], list[Quarantined]] = {}
        scanned = self.scan()
        present = _exports(scanned)
        for each in scanned:
            if not each.ended_ctp:
                by_stage.setdefault((each.pipeline, each.stage), []).append(each)
            elif self._may_go(each, ENDED_CTP, present):
                self._released(each)
                self._trials.release(each.path)
                released += 1
            else:
                left[ENDED_CTP] = left.get(ENDED_CTP, 0) + 1
        for (pipeline, stage), objects in by_stage.items():
            going: list[tuple[Quarantined, str]] = []
            for each in objects:
                reason, on_its_way = self._judged(each, known)
                if on_its_way:
                    continue
                if self._may_go(each, reason, present):
                    self._suspects.release(each.sop_instance_uid, present)
                    self._released(each)
                    going.append((each, reason))
                else:
                    left[reason] = left.get(reason, 0) + 1
            if len(going) == len(objects) and len(going) > 1:
                # One request: CTP renders its page anew for each.
                self._client.quarantine("queueAll", pipeline, stage)
            else:
                for each, _ in going:
                    self._client.quarantine("queueFile", pipeline, stage, each.path.name)
            with self._lock:
                for each, _ in going:
                    self._attempts.pop(each.sop_instance_uid, None)
            for each, reason in going:
                if each.path.exists():
                    # CTP could not copy it into its queue.
                    left[reason] = left.get(reason, 0) + 1
                else:
                    released += 1
        self._save_attempts()
        return {"released": released, "left": left}

    def by_hand(self, path: str) -> None:
        """Before a request for CTP's own page goes there: note what an operator removes with it,
        and let what is queued with it have its tries anew."""
        page, _, asked = path.partition("?")
        action = [part for part in page.split("/") if part]
        if len(action) < 2 or action[0] != "quarantines":
            return
        if not action[1].startswith(("queue", "delete")):
            return
        query = {key: values[-1] for key, values in parse_qs(asked).items()}
        known = self._known()
        for each in self.scan():
            if each.ended_ctp or not _is_meant(each, query):
                continue  # CTP does not know of the former
            if action[1].startswith("queue"):
                self._suspects.forget(each.sop_instance_uid)
                self._released(each)
            else:
                self._removing(each, known)

    def repeat_exports(self, reachable: Callable[[int], bool]) -> int:
        """Queue again what CTP gave up exporting: a connection that ended in the middle of an
        object looks to it like a refusal. Each object a few times, counted on disk."""
        repeated = 0
        now = time.time()
        exports = [each for each in self.scan() if _is_export(each)]
        present = _exports(exports)
        self._refusals.keep(present)
        self._suspects.keep(present)
        if self._suspects.lie_under_another_uid(present):
            return repeated
        for each in exports:
            if not each.sop_instance_uid or not reachable(each.pipeline):
                continue
            uid = each.sop_instance_uid
            if uid in self._refusals or self._suspects.held(uid) is not None:
                continue  # it would be kept from leaving again
            count = int(self._attempts.get(each.sop_instance_uid, [0])[0])
            # A clock that was set back must not stretch the pause.
            if count >= AUTOMATIC_ATTEMPTS or 0 <= now - each.arrived < _PAUSES[count]:
                continue
            self._attempts[each.sop_instance_uid] = [count + 1, now]
            self._save_attempts()
            self._released(each)
            try:
                self._client.quarantine("queueFile", each.pipeline, each.stage, each.path.name)
            except (OSError, http.client.HTTPException):
                return repeated
            repeated += 1
        if repeated:
            LOG.info("Queued %d objects for Orthanc again", repeated)
        return repeated

    def _load_attempts(self) -> dict[str, list[float]]:
        try:
            found = json.loads(self._attempts_file.read_text(encoding="utf-8"))
            oldest = time.time() - _KEEP_SECONDS
            return {str(uid): value for uid, value in found.items() if value[1] > oldest}
        except (OSError, ValueError, AttributeError, TypeError, IndexError):
            return {}

    def _save_attempts(self) -> None:
        try:
            whole_files.replace(self._attempts_file, json.dumps(self._attempts), durable=False)
        except OSError as error:
            LOG.error("The export attempts cannot be written (%s)", type(error).__name__)


def _is_meant(each: Quarantined, query: Mapping[str, str]) -> bool:
    """Whether a request for CTP's page is about this file: one, those of a study or series, or
    all."""
    if (str(each.pipeline), str(each.stage)) != (query.get("p"), query.get("s")):
        return False
    about = {"filename": each.path.name, "studyUID": each.study, "seriesUID": each.series}
    # CTP may have read what was not read here.
    return all(not value or query.get(name, value) == value for name, value in about.items())


def _is_export(each: Quarantined) -> bool:
    return each.kind == "export" and not each.ended_ctp


def _exports(scanned: Iterable[Quarantined]) -> set[str]:
    """The UIDs of what lies in the quarantines of the exports."""
    return {each.sop_instance_uid for each in scanned if _is_export(each)}


def _read(pipeline: int, stage: int, kind: str, path: Path, status: os.stat_result) -> Quarantined:
    # A copy that CTP could not finish, on a full disk, is no object: nobody may release it.
    torn = kind in ("import", "anonymizer") and part10.is_truncated(path)
    header = part10.read_header(path)
    return Quarantined(
        pipeline,
        stage,
        kind,
        path,
        (header.sop_instance_uid if header else "") or part10.announced_uid(path),
        header.patient_id if header and not torn else None,
        status.st_ctime,
        header.issuer if header else "",
        status.st_size,
        header.sop_class_uid if header else "",
        ambiguous=header.ambiguous if header else False,
        mark=header.mark if header else "",
        study=header.study if header else "",
        series=header.series if header else "",
        done=bool(header and header.identity_removed == "YES"),
        unpacked=bool(header and header.unpacked),
    )
