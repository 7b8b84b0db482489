"""The net for completeness of all pipelines: what is kept, from one start of CTP to the next.

CTP has no object of which nothing is known here, but for two kinds. What it had not anonymized when
it was stopped can be read off its own files, and is: what came before this net was there, or was
kept and did not reach the disk in a power cut. What it had anonymized before this net was there
goes through: nobody knows what came of it. That is said once, in the log.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from ctp_rules.script import ScriptError

from ..engine.verify import VerificationError, with_key
from ..lookup.tables import Tables
from ..machine.files import files_below
from ..settings import Pipeline, Settings
from .arrivals import Arrivals
from .whole import Scripts, Whole

LOG = logging.getLogger(__name__)

DIRECTORY = "arrivals"
_BEGUN = "begun"


class Net:
    """One for each pipeline, in a directory of its own below ``arrivals``."""

    def __init__(
        self, settings: Settings, files: Mapping[str, bytes], key: bytes, tables: Tables
    ) -> None:
        """``files``: CTP's, by name, as they were judged. ``key``: of the site, for UIDs.

        Raises ``VerificationError``: a script is not understood here; ``OSError``.
        """
        self._data = settings.data
        self._tables = tables
        self._pipelines = settings.pipelines
        self._is_standin = settings.engine == "standin"
        self.wholes: list[Whole] = []
        for pipeline in settings.pipelines:
            directory = self._directory(pipeline)
            try:
                scripts = Scripts(
                    directory / "scripts",
                    files[pipeline.script],
                    partial(with_key, key=key),
                    tables.order,
                )
            except ScriptError as error:
                raise VerificationError(
                    f"{pipeline.script} has something that cannot be followed here: {error}."
                    " What CTP makes of an object could not be checked."
                ) from error
            arrivals = Arrivals(directory / "objects", scripts.current, tables.order)
            self.wholes.append(Whole(arrivals, scripts, tables, settings.pixel_regions))

    def by_port(self) -> dict[int, Arrivals]:
        """What the gate keeps objects in, by the port of CTP that they go to."""
        return {
            pipeline.import_port: whole.arrivals
            for pipeline, whole in zip(self._pipelines, self.wholes)
        }

    def take_up(self) -> None:
        """Learn of what CTP has and is not known, before CTP is started. Raises ``OSError``."""
        known = waived = 0
        for pipeline, whole in zip(self._pipelines, self.wholes):
            arrivals = whole.arrivals
            begun = self._directory(pipeline) / _BEGUN
            for path in self._came(pipeline):
                known += arrivals.take_up(path)
            if not begun.exists():
                before = len(arrivals)
                for path in self._leaving(pipeline):
                    arrivals.waive(path)
                waived += len(arrivals) - before
                # What is kept has to be on disk before it is said that all is.
                os.sync()
                begun.touch(mode=0o600)
        if known:
            LOG.info("Read off CTP's files what came of %d objects", known)
        if waived:
            LOG.warning(
                "%d objects were anonymized before it was kept what came of them: whether they are"
                " complete is not checked",
                waived,
            )

    def sweep(self) -> None:
        """Forget what no object of CTP needs any more. Raises ``OSError``."""
        gone = 0
        for pipeline, whole in zip(self._pipelines, self.wholes):
            gone += whole.arrivals.sweep(partial(self._files, pipeline))
            whole.forget()
        self._tables.forget(min(whole.arrivals.oldest() for whole in self.wholes))
        if gone:
            LOG.info("Forgot what came of %d objects that CTP has not any more", gone)

    def _directory(self, pipeline: Pipeline) -> Path:
        return self._data / DIRECTORY / pipeline.name

    def _came(self, pipeline: Pipeline) -> Iterator[Path]:
        """The files that CTP has not anonymized."""
        importing = pipeline.stage("import")
        directories = [importing.root, importing.quarantine]
        directories.append(pipeline.stage("anonymizer").quarantine)
        if self._is_standin:
            # It keeps an object as it came until Orthanc has it.
            directories += [pipeline.stage(kind).quarantine for kind in ("filter", "export")]
        directories += self._aside(pipeline, "import")
        yield from self._below(directories)

    def _leaving(self, pipeline: Pipeline) -> Iterator[Path]:
        exporting = pipeline.stage("export")
        directories = [exporting.root, *self._aside(pipeline, "export")]
        if not self._is_standin:
            directories.append(exporting.quarantine)
        yield from self._below(directories)

    def _files(self, pipeline: Pipeline) -> Iterator[Path]:
        """All files, in the order in which an object passes them; it may be on its way into a
        quarantine or out of one."""
        quarantines = [stage.quarantine for stage in pipeline.stages]
        roots = [
            stage.root / name for stage in pipeline.stages for name in ("temp", "queue", "active")
        ]
        roots += [stage.root for stage in pipeline.stages]
        aside = [*self._aside(pipeline, "import"), *self._aside(pipeline, "export")]
        yield from self._below([*aside, *quarantines, *roots, *quarantines])

    def _aside(self, pipeline: Pipeline, kind: str) -> list[Path]:
        """Where ``Trials`` has them."""
        return [
            self._data / name / str(pipeline.index) / kind for name in ("suspects", "held-back")
        ]

    @staticmethod
    def _below(directories: list[Path]) -> Iterator[Path]:
        for directory in directories:
            for entry in files_below(directory):
                if not entry.name.endswith(".anon"):
                    yield Path(entry.path)
