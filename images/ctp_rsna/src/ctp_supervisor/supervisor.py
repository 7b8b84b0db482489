"""Wires the parts, and leads them from start to stop."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Container
from pathlib import Path
from typing import Any

from program_settings import SettingsError

from . import NAME, account
from .completeness.net import Net
from .dicom import tunnel
from .dicom.echo import HEALTHCHECK_AET, echo
from .engine import predecessor, recovery, verify, workdir
from .engine.process import Client, Engine
from .entrance.broken_off import BrokenOff
from .entrance.door import Door
from .entrance.studies import Studies
from .export.lanes import Lanes
from .export.refusals import Refusals
from .export.relay import ExportRelay
from .export.suspects import Suspects
from .front.healthcheck import OPEN
from .front.status import Counters, Queues, total
from .front.web import Front
from .gate.gate import Pipeline
from .held_back.profile import Profile
from .held_back.quarantine import ENDED_CTP, Quarantined, Quarantines
from .held_back.trials import Trials
from .held_back.unpacking import Unpacker
from .lookup.keydb import LookupUpdater
from .machine import disk, files, threads
from .machine.disk import MIB, GroupSync, SpaceGuard
from .settings import Settings

LOG = logging.getLogger("ctp_supervisor")

READY_SECONDS = 180.0
FIRST_TABLE_SECONDS = 15.0
DRAIN_SECONDS = 10.0
WATCH_SECONDS = 1.0
LOOK_SECONDS = 2.0
SWEEP_SECONDS = 600.0
SWEEPS = 2
"""What is gone is missed twice."""
SILENT_SECONDS = 60.0
HURRY_SECONDS = 10.0
"""So much longer than it may take to stop, when a part of this program is missing."""
EXPORT_SILENT_SECONDS = 300.0
NOTE_SECONDS = 10.0
IDLE_SECONDS = 60.0
TEMP_SECONDS = 600.0
UNPACKED_AT_ONCE = 4
UNPACK_PAUSE_SECONDS = 120.0

STOPPED, ENDED, CANNOT_START, CHANGED = range(4)


def run(settings: Settings) -> int:
    """Run until told to stop; return the exit status."""
    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format="supervisor: %(levelname)-5s %(message)s"
    )
    os.umask(0o077)
    try:
        supervisor = Supervisor(settings)
    except (SettingsError, verify.VerificationError) as error:
        print(f"CTP is not started: {error}", file=sys.stderr, flush=True)
        return CANNOT_START
    except OSError as error:
        print(f"CTP is not started: {error}.", file=sys.stderr, flush=True)
        return CANNOT_START
    threads.watch(supervisor.failed)
    return supervisor.run()


class Supervisor:
    """Everything between the files and the running CTP."""

    def __init__(self, settings: Settings) -> None:
        """Verify, and take the ports.

        Raises ``SettingsError``, ``VerificationError``, ``OSError``: nothing was started then.
        """
        self.settings = settings
        self.verified = verify.verify(settings)
        for name in ("keydb_user", "keydb_pass"):
            settings.secret(name)
        self.password = settings.secret("ctp_admin_pass")
        workdir.check_password(self.password)
        self.lock = _lock(settings.data)
        _make_directories(settings)
        predecessor.take_over(settings)
        self.counters = Counters(settings.data / "counters.json")
        used = bool(self.counters.all()["received"]) or recovery.holds_objects(settings.pipelines)
        self.key = workdir.uid_key(settings, used)
        self.working = workdir.make(settings, self.verified, self.key, self.password)

        self.events: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.client = Client(settings.ctp_web_port, self.password)
        self.engine: Engine | None = None
        self.phase = "starting"
        """Why nothing is received; empty while CTP runs."""
        self.recovered = recovery.Recovered()
        self.sync = GroupSync(settings.data) if settings.sync_before_acknowledge else None
        self.sync_failed = False
        self.lookup = LookupUpdater(
            settings, unreadable=lambda: self.events.put(("clock", "was set back"))
        )
        self.net = Net(settings, self.verified.files, self.key, self.lookup.tables)
        self.sweeps_due = 0
        """How often to look, without waiting, for what is kept of objects that are gone."""
        self.queues = [Queues(pipeline) for pipeline in settings.pipelines]
        self.unpackers = [
            Unpacker(
                whole.arrivals,
                self.verified.rules,
                settings.pixel_regions,
                settings.largest_object_mib * MIB,
                whole.since,
            )
            for whole in (self.net.wholes if settings.pixel_regions else ())
        ]
        self.refusals = Refusals(settings.data)
        self.trials = Trials(settings.pipelines, settings.data, settings.heap_mib)
        self.suspects = Suspects(settings.data, settings.largest_object_mib)
        lanes = Lanes()
        self.account = account.make(
            settings, self.verified, self.key, lambda: self.lookup.patients, self._is_idle
        )
        self.quarantines = Quarantines(
            settings.pipelines,
            settings.data,
            lambda: self.lookup.patients,
            self.client,
            self.refusals,
            settings.pseudonym_prefixes,
            self.suspects,
            self.trials,
            notes=account.Notes(self.account, lambda: self.lookup.patients, settings.engine),
            profiles=[Profile(whole.script) for whole in self.net.wholes],
            unpackers=self.unpackers,
        )
        secure = any(each.export.tls_names for each in settings.pipelines)
        tls = tunnel.client_context(settings.trusted, settings.secrets) if secure else None
        self.relays = [
            ExportRelay(
                pipeline,
                self._intact,
                lambda n: self.counters.add("forwarded", n),
                settings.pseudonym_prefixes,
                self.refusals,
                self.suspects,
                lanes,
                self.account.left,
                whole,
                tls,
            )
            for pipeline, whole in zip(settings.pipelines, self.net.wholes)
        ]
        self.answered = self.busy = time.monotonic()
        self.to_unpack = 0
        """How many objects are to be decompressed, as was last seen."""
        self.tampered = threading.Event()
        self.studies = Studies()
        self.broken_off = BrokenOff()
        self.gate = Door(
            (settings.bind, settings.dicom_port),
            [
                Pipeline(each.import_port, each.called_aets, each.calling_aets)
                for each in settings.pipelines
            ],
            self.closed,
            self._before_answer,
            lambda n: self.counters.add("received", n),
            studies=self.studies,
            rules=self.verified.rules,
            broken_off=self.broken_off,
            account=self.account.sender,
            arrivals=self.net.by_port(),
        )
        self.front = Front(
            (settings.bind, settings.web_port), self.password, self, settings.ctp_web_port
        )
        self.space = SpaceGuard(settings.data, settings.minimum_free_mib * MIB, self._space_changed)

    # What the gate asks.

    def closed(self) -> str:
        """Why nothing is received now; empty while it is."""
        if self.tampered.is_set():
            return "a file that CTP reads was changed"
        if self.phase:
            return self.phase
        if self.space.check() != disk.OPEN:
            return self._space_text()
        if self.sync_failed:
            return "the data file system reports errors"
        return ""

    def _before_answer(self) -> str:
        """Called for each answer of CTP; returns when what it answers for is on disk."""
        if self.sync is not None:
            try:
                self.sync.wait()
            except OSError as error:
                if not self.sync_failed:
                    LOG.error("The data file system reports an error: %s", error.strerror)
                self.sync_failed = True
                return "sync failed"
        if self.tampered.is_set():
            return "changed"
        return self._space_text() if self.space.check() != disk.OPEN else ""

    def _space_text(self) -> str:
        return (
            f"only {self.space.free // MIB} MiB free in the data directory,"
            f" minimum {self.settings.minimum_free_mib}"
        )

    def _space_changed(self, old: str, new: str) -> None:
        if new == disk.OPEN:
            LOG.info("There is space again: reception is open")
        else:
            LOG.warning("Reception is closed: %s", self._space_text())
        gate = getattr(self, "gate", None)
        if new != disk.OPEN and gate is not None:
            threading.Thread(target=gate.abort_all, args=("too little space",), daemon=True).start()
        if self.engine is not None:
            if new == disk.CRITICAL:
                LOG.warning("CTP is frozen: it would lose what it has, were the disk full")
                self.engine.freeze()
            elif old == disk.CRITICAL:
                LOG.info("CTP goes on")
                self.engine.thaw()

    def _intact(self) -> bool:
        if self.tampered.is_set():
            return False
        changed = self.working.changed()
        if changed:
            self._tampered(changed)
            return False
        return True

    def _tampered(self, changed: list[Path]) -> None:
        if self.tampered.is_set():
            return
        self.tampered.set()
        since = time.time() - WATCH_SECONDS
        for path in changed:
            with contextlib.suppress(OSError):
                since = min(since, path.stat().st_ctime)
        # CTP first: what it does with the changed file ends here.
        if self.engine is not None:
            self.engine.kill()
        for relay in self.relays:
            relay.stop()
        self.gate.abort_all("a file that CTP reads was changed")
        marker = self.settings.data / "changed-since.json"
        try:
            marker.write_text(json.dumps({"since": since}), encoding="utf-8")
        except OSError:
            LOG.error("%s cannot be written", marker)
        self.events.put(("changed", [path.name for path in changed]))

    def _not_stored(self) -> None:
        LOG.error("CTP failed to write a file; what it acknowledges now does not reach a sender")
        self.gate.abort_all("CTP failed to write a file")

    # What the front shows.

    def health(self) -> tuple[bool, str]:
        """See ``web.Site``."""
        problems = self._problems()
        closed = self.closed()
        lines = problems or ["ok"]
        lines.append(f"reception closed: {closed}" if closed else OPEN)
        lines += self._waiting_for()
        return not problems, "\n".join(lines) + "\n"

    def _problems(self) -> list[str]:
        found = []
        engine = self.engine
        if self.tampered.is_set():
            found.append("a file that CTP reads was changed")
        if self.sync_failed:
            found.append("the data file system reports errors")
        if self.phase or engine is None or engine.frozen:
            return found
        if not engine.alive:
            found.append("CTP has ended")
        if time.monotonic() - self.answered > SILENT_SECONDS:
            found.append(f"CTP's web server has not answered for {SILENT_SECONDS:.0f} s")
        found += [
            f"no object has left the import queue of {each.pipeline.name} for minutes"
            for each in self.queues
            if each.stuck
        ]
        found += [
            f"the exporter of {each.pipeline.name} does not try"
            for each, relay in zip(self.queues, self.relays)
            if each.exports
            and relay.reachable
            and time.monotonic() - relay.moved > EXPORT_SILENT_SECONDS
        ]
        return found

    def _waiting_for(self) -> list[str]:
        found = []
        if any(relay.reachable is False for relay in self.relays):
            found.append("Orthanc cannot be reached")
        if self.lookup.problem:
            found.append(f"KeyDB: {self.lookup.problem}")
        return found

    def status(self) -> dict[str, Any]:
        """See ``web.Site``."""
        quarantine = self.quarantines.listed()
        by_stage: dict[tuple[int, str], int] = {}
        for each in quarantine:
            pipeline, stage, _ = each["id"].split("-", 2)
            kind = self.settings.pipelines[int(pipeline)].stages[int(stage)].kind
            by_stage[int(pipeline), kind] = by_stage.get((int(pipeline), kind), 0) + 1
        counts = self.counters.all()
        standin = self.settings.engine == "standin"
        closed = self.closed()
        studies = self.account.summary()
        for queues in self.queues:
            queues.look(self._excused())
        return {
            "standin": standin,
            "notice": "STAND-IN — simulation and tests only, not RSNA CTP" if standin else "",
            "version": NAME,
            "healthy": not self._problems(),
            "waiting_for": " and ".join(self._waiting_for()),
            "received": counts["received"],
            "forwarded": counts["forwarded"],
            "queued": total(self.queues) + self.trials.waiting() + self.to_unpack,
            "quarantined": len(quarantine),
            "deleted": counts["deleted"],
            "quarantine": quarantine,
            "held_back": [each.why() for each in self.suspects.all_held()]
            + [each["held_back"] for each in quarantine if each["reason"] == ENDED_CTP],
            "deidentification": list(self.settings.deidentification),
            "reception": closed or "open",
            "frozen": bool(self.engine and self.engine.frozen),
            "free_mib": self.space.free // MIB,
            "associations": self.gate.associations(),
            "keydb": self.lookup.state(),
            "mixed_studies": self._mixed(studies),
            "studies": studies,
            "pipelines": [
                queues.shown(
                    {
                        stage.kind: by_stage.get((queues.pipeline.index, stage.kind), 0)
                        for stage in queues.pipeline.stages
                    }
                )
                for queues in self.queues
            ],
            "recovered": {
                "requeued": self.recovered.imported + self.recovered.exported,
                **vars(self.recovered),
            },
        }

    def _mixed(self, studies: dict[str, Any]) -> int:
        # The account knows of those of before the latest start.
        return max(self.studies.mixed(), studies.get("mixed", 0))

    def study(self, question: dict[str, Any]) -> dict[str, Any]:
        """See ``web.Site``."""
        if self.account.works and not self.phase:
            self._note_quarantine()
        return self.account.ask(**question)

    def names(self, question: dict[str, Any]) -> dict[str, Any]:
        """See ``web.Site``."""
        return self.account.names(**question)

    def _is_idle(self) -> bool:
        """Whether no object has waited in any queue of CTP for a while; while it is not known:
        no. Between two queues an object is in neither for a moment."""
        return (
            not self.phase and not self._excused() and time.monotonic() - self.busy > IDLE_SECONDS
        )

    def _note_quarantine(self) -> None:
        looked = time.monotonic()
        found = account.in_quarantine(
            self.quarantines.with_reasons(), self.lookup.patients, self.settings.engine
        )
        self.account.quarantine(found, looked)

    def quarantine(self) -> list[dict[str, Any]]:
        """See ``web.Site``."""
        return self.quarantines.detailed()

    def delete(self, object_ids: Container[str]) -> int:
        """See ``web.Site``."""
        deleted = self.quarantines.delete(object_ids)
        self.sweeps_due = SWEEPS
        self.counters.add("deleted", deleted)
        return deleted

    def release(self) -> dict[str, Any]:
        """See ``web.Site``. What KeyDB learned a moment ago counts."""
        self._may_write()
        return self.quarantines.release()

    def passes_on(self, path: str) -> None:
        """See ``web.Site``."""
        self.quarantines.by_hand(path)
        self.sweeps_due = SWEEPS

    def _may_write(self) -> None:
        # CTP copies, and drops what it cannot copy.
        if self.phase or self.space.check() != disk.OPEN:
            raise OSError(self.closed())

    def _excused(self) -> bool:
        return bool(self.phase) or self.engine is None or self.engine.frozen

    def failed(self) -> None:
        """This program cannot go on as it is: stop, in order if that can be done."""
        self.events.put(("failed", None))
        last = threading.Timer(self.settings.stop_seconds + HURRY_SECONDS, os._exit, [ENDED])
        last.daemon = True
        last.start()

    # From start to stop.

    def run(self) -> int:
        """Run until told to stop; return the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.events.put(("stop", None)))
        self.space.start()
        self.lookup.start()
        self.account.start()
        self.front.start()
        self.gate.start()
        try:
            status = self._start()
            if status is None:
                status = self._lead()
            return status
        finally:
            self.account.stop()
            self.counters.save()
            workdir.remove(self.working.path)

    def _event(self, seconds: float) -> tuple[str, Any]:
        try:
            return self.events.get(timeout=seconds)
        except queue.Empty:
            return "", None

    def _start(self) -> int | None:
        """Bring CTP up; an exit status when that came to nothing."""
        while self.space.check() != disk.OPEN:
            self.phase = f"starting; {self._space_text()}"
            event, _ = self._event(0.5)
            if event in ("stop", "failed"):
                return STOPPED if event == "stop" else ENDED
        self.phase = "starting"
        self._recover()
        self.engine = Engine(
            self.settings,
            self.working,
            self.lock,
            lambda code: self.events.put(("ended", code)),
            self._not_stored,
        )
        if self.space.check() == disk.CRITICAL:
            self.engine.freeze()
        threading.Thread(target=self._watch, name="watch", daemon=True).start()
        if self.unpackers:
            threading.Thread(target=self._unpack, name="unpack", daemon=True).start()
        for relay in self.relays:
            relay.start()
        deadline = time.monotonic() + READY_SECONDS
        while not self._is_ready():
            event, detail = self._event(0.2)
            if event:
                return self._end(event, detail)
            if time.monotonic() > deadline:
                LOG.error("CTP was not ready within %d s", READY_SECONDS)
                self.engine.kill()
                return ENDED
        missing = self._missing_quarantines()
        if missing:
            # CTP deletes what fails in a stage without a quarantine.
            LOG.error("CTP runs without the quarantines of %s: stopped", missing)
            self.engine.kill()
            return ENDED
        # A patient in KeyDB should not be unknown only because CTP was faster.
        if not self.lookup.first_answer.wait(FIRST_TABLE_SECONDS):
            LOG.warning("KeyDB has not answered yet; the last lookup table is used")
        self.answered = time.monotonic()
        for queues in self.queues:
            queues.look(excused=True)
        self.phase = ""
        LOG.info(
            "Reception is open on port %d, for %d pipelines; recovered: %s",
            self.settings.dicom_port,
            len(self.settings.pipelines),
            self.recovered,
        )
        return None

    def _marks(self, script: str) -> recovery.Marks:
        return recovery.Marks(self.settings.pseudonym_prefixes, self.verified.methods[script])

    def _recover(self) -> None:
        clean = self.settings.data / "clean-stop"
        changed = self.settings.data / "changed-since.json"
        since = None
        try:
            since = float(json.loads(changed.read_text(encoding="utf-8"))["since"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError):
            since = 0.0  # not known from when on: all that waits is doubtful
        was_clean = clean.exists()
        self.trials.arrest(
            lambda pipeline, path: recovery.may_be_anonymized(path, self._marks(pipeline.script))
        )
        for pipeline in self.settings.pipelines:
            self.recovered += recovery.recover(
                pipeline, self._marks(pipeline.script), was_clean, since
            )
            if not recovery.mark_active(pipeline):
                LOG.warning(
                    "The file system of the data directory has no ACL: what is anonymized when CTP"
                    " is killed goes to the filter's quarantine"
                )
        self.net.take_up()
        clean.unlink(missing_ok=True)
        changed.unlink(missing_ok=True)
        if self.recovered.doubtful:
            LOG.warning(
                "%d objects were anonymized while a script was changed, or by nobody knows whom:"
                " they are in the filter's quarantine",
                self.recovered.doubtful,
            )

    def _is_ready(self) -> bool:
        for pipeline in self.settings.pipelines:
            # A bare connection would leave a stack trace in CTP's log.
            if echo("127.0.0.1", pipeline.import_port, "CTP", HEALTHCHECK_AET, 2):
                return False
        return self.client.ping()

    def _missing_quarantines(self) -> list[str]:
        try:
            found = self.client.quarantines()
        except (OSError, ValueError) as error:
            return [f"all stages ({type(error).__name__})"]
        return [
            f"{pipeline.name}/{stage.kind}"
            for pipeline in self.settings.pipelines
            for stage in pipeline.stages
            if (pipeline.index, stage.index) not in found
        ]

    def _watch(self) -> None:
        """Every second the files and the counters; every few the queues and CTP's web server."""
        looked = settled = noted = 0.0
        swept = time.monotonic()
        while True:
            self._intact()
            self.counters.save()
            now = time.monotonic()
            if not self.phase and now - looked > LOOK_SECONDS:
                try:
                    self._look()
                except Exception as error:  # must not end the watch over the files
                    LOG.error("Looking at the queues failed (%s)", type(error).__name__)
                if now > noted:
                    try:
                        self._note_quarantine()
                    except Exception as error:  # nor must the account
                        LOG.error("The account failed (%s)", type(error).__name__)
                    # With very many objects it takes its time, and only a small part of all.
                    noted = time.monotonic() + max(NOTE_SECONDS, 20 * (time.monotonic() - now))
                if now - settled > 60:
                    settled = now
                    self._settle_temp()
                if now - swept > SWEEP_SECONDS or self.sweeps_due:
                    self.sweeps_due = max(0, self.sweeps_due - 1)
                    self._sweep()
                    swept = time.monotonic()
                looked = time.monotonic()
            time.sleep(WATCH_SECONDS)

    def _sweep(self) -> None:
        try:
            self.net.sweep()
        except OSError as error:
            LOG.error("What is kept of objects cannot be looked through (%s)", error.strerror)

    def _look(self) -> None:
        for queues in self.queues:
            queues.look(self._excused())
        if self._excused():
            self.answered = self.busy = time.monotonic()
            return
        if self.client.ping():
            self.answered = time.monotonic()
        waiting = {
            (each.pipeline.index, kind): count
            for each in self.queues
            for kind, count in (("import", each.imports), ("export", each.exports))
        }
        self.trials.go_on(lambda pipeline, kind: not waiting[pipeline.index, kind])
        temp = [each.stage("import").root / "temp" for each in self.settings.pipelines]
        others = self.to_unpack or self.trials.waiting()
        if any(waiting.values()) or others or any(map(files.files_in, temp)):
            self.busy = time.monotonic()
        if self.engine is not None:
            lost = self.engine.lost()
            if lost and not self.phase:
                LOG.error("CTP is ended, since it goes on without its %s", ", ".join(lost))
                self.engine.kill()
            used = _open_files(self.engine.process.pid)
            if removed := self.broken_off.remove(temp, used):
                LOG.info("Removed what CTP kept of %d objects that broke off", removed)
        if self.space.level == disk.OPEN:
            self.quarantines.repeat_exports(lambda n: self.relays[n].reachable is True)

    def _unpack(self) -> None:
        """Decompress what is to be blanked and came compressed, one after the other."""
        while True:
            began = time.monotonic()
            due: list[Quarantined] = []
            try:
                due = self.quarantines.on_their_way() if not self.phase else []
            except Exception as error:  # it is looked again
                LOG.error("Looking for images to decompress failed (%s)", type(error).__name__)
            looked = time.monotonic() - began
            self.to_unpack = len(due)
            done = 0
            for each in due:
                done += self._unpack_one(each)
                if done == UNPACKED_AT_ONCE:
                    break  # those that have come meanwhile have their turn, too
            # With very many objects the look takes its time, and only a part of all.
            pause = min(20 * looked, UNPACK_PAUSE_SECONDS)
            time.sleep(looked if done else max(WATCH_SECONDS, pause))

    def _unpack_one(self, each: Quarantined) -> bool:
        """Whether anything was done."""
        room = self.space.free - self.settings.minimum_free_mib * MIB
        if self.closed() or self.quarantines.room_for(each) > room:
            return False
        try:
            self.quarantines.send_on(each, self._on_disk)
        except Exception as error:  # it is tried again, and the others are not stopped
            if not self.phase:
                LOG.error("An image could not be decompressed now (%s)", type(error).__name__)
            return False
        self.busy = time.monotonic()
        return True

    def _on_disk(self) -> None:
        if self.sync is not None:
            self.sync.wait()

    def _settle_temp(self) -> None:
        """What a sender left half-sent long ago: CTP keeps it, and never looks at it again."""
        engine = self.engine
        if engine is None:
            return
        found = recovery.Recovered()
        for pipeline in self.settings.pipelines:
            root = pipeline.stage("import").root
            for path in files.files_in(root / "temp"):
                try:
                    old = time.time() - path.stat().st_mtime > TEMP_SECONDS
                    if not old or path in _open_files(engine.process.pid):
                        continue
                    if recovery.settle(path, pipeline, found):
                        recovery.requeue(path, root / "queue")
                        found.imported += 1
                except FileNotFoundError:
                    continue
        if found.imported or found.incomplete or found.copies:
            LOG.info("Left in the import directories, put right: %s", found)

    def _lead(self) -> int:
        while True:
            event, detail = self._event(3600)
            if event:
                return self._end(event, detail)

    def _end(self, event: str, detail: Any) -> int:
        assert self.engine is not None
        if self.tampered.is_set():
            names = detail if event == "changed" else ["a file that CTP reads"]
            print(
                f"CTP was stopped: {', '.join(names)} was changed in its working directory while it"
                " ran. Nothing that was anonymized since leaves this machine; find out who did it.",
                file=sys.stderr,
                flush=True,
            )
            return CHANGED
        if event == "ended":
            self.phase = "CTP has ended"
            self.trials.ctp_ended()
            self.gate.abort_all("CTP has ended")
            LOG.error("CTP has ended by itself (status %s); the next start recovers", detail)
            return ENDED
        if event == "failed":
            self._stop()
            return ENDED
        if event == "clock":
            LOG.warning(
                "The clock was set back: CTP would not read the new lookup table before it has"
                " caught up, and is started again"
            )
        return self._stop()

    def _stop(self) -> int:
        assert self.engine is not None
        began = time.monotonic()
        LOG.info("Stopping")
        for relay in self.relays:
            relay.stopping = True
        for unpacker in self.unpackers:
            unpacker.stop()
        if any(each.stuck for each in self.queues):
            self.trials.ctp_ended()
        drain = min(DRAIN_SECONDS, self.settings.stop_seconds / 4)
        try:
            if not self.phase:
                self.gate.drain(drain)
            self.phase = "stopping"
            self._wait_for_temp(drain)
        except OSError as error:
            LOG.error("Stopping in a hurry (%s)", error.strerror)
        self.phase = "stopping"
        if self.space.check() == disk.CRITICAL:
            LOG.warning("CTP is killed where it is: going on would lose what it cannot write")
            self.engine.kill()
            return STOPPED
        left = self.settings.stop_seconds - (time.monotonic() - began)
        if self.engine.stop(self.client, max(1.0, left)):
            (self.settings.data / "clean-stop").touch()
        LOG.info("Stopped after %.1f s", time.monotonic() - began)
        return STOPPED

    def _wait_for_temp(self, seconds: float) -> None:
        """CTP takes what it acknowledged into its queue in threads that its end does not await.

        What is left all the same is recovered at the next start.
        """
        deadline = time.monotonic() + seconds
        before: list[Path] = []
        while time.monotonic() < deadline:
            left = [
                path
                for pipeline in self.settings.pipelines
                for path in files.files_in(pipeline.stage("import").root / "temp")
            ]
            if not left or left == before:
                return
            before = left
            time.sleep(0.5)


def _open_files(process: int) -> set[Path]:
    found = set()
    try:
        for link in Path(f"/proc/{process}/fd").iterdir():
            try:
                found.add(link.readlink())
            except OSError:
                continue
    except OSError:
        pass
    return found


def _lock(data: Path) -> int:
    """Take the data directory for this process and its CTP. Raises ``SettingsError``."""
    try:
        descriptor = os.open(data / "supervisor.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SettingsError(
            f"{data} cannot be written ({error.strerror}). It has to belong to the user"
            f" {os.getuid()}."
        ) from error
    # The one before may be on its way out.
    for _ in range(50):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.1)
        else:
            return descriptor
    raise SettingsError(f"Another CTP works in {data}: two would export everything twice.")


def _make_directories(settings: Settings) -> None:
    devices = set()
    for pipeline in settings.pipelines:
        for stage in pipeline.stages:
            for directory in (stage.root, stage.quarantine):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                devices.add(directory.stat().st_dev)
    if len(devices | {settings.data.stat().st_dev}) != 1:
        raise SettingsError(
            f"The directories under {settings.data} lie on several file systems: objects could not"
            " be moved between them as a whole."
        )
