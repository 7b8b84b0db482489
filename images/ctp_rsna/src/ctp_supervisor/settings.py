"""Settings: ``supervisor.json`` among the rendered files, and where things are.

==================================  ================  ============================================
Variable of the environment         Default           Meaning
==================================  ================  ============================================
``CTP_CONFIGURATION_DIRECTORY``     ``/etc/ctp``      ``supervisor.json`` and all that CTP reads
``CTP_DISTRIBUTION_DIRECTORY``      ``/opt/ctp``      CTP: ``libraries/CTP.jar`` and the rest
``CTP_SECRETS_DIRECTORY``           ``/run/secrets``  ``keydb_user``, ``keydb_pass``,
                                                      ``ctp_admin_pass``; ``tls.crt`` and
                                                      ``tls.key``, where Orthanc wants to know who
                                                      sends
``CTP_MEMORY_DIRECTORY``            ``/dev/shm``      a tmpfs: CTP's working directory is made here
``CTP_BIND_ADDRESS``                ``0.0.0.0``       address of the DICOM and the web port
==================================  ================  ============================================

The data directory is the one that ``lookup_table`` lies in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from program_settings import SettingsError, read_secret

from . import reading
from .reading import Reader

STAGE_KINDS = ("import", "anonymizer", "filter", "export")
ENGINES = ("ctp", "standin")


@dataclass(frozen=True)
class Stage:
    """One stage of a pipeline of CTP: its number, and its directories."""

    index: int
    kind: str
    root: Path
    quarantine: Path


@dataclass(frozen=True)
class Export:
    """Where a pipeline exports to: CTP to ``listen_port`` on loopback, from there to ``host``."""

    listen_port: int
    host: str
    port: int
    greeting_port: int = 0
    """Where a forwarder in between (``one_way``) says that it has reached Orthanc; 0: none is."""
    tls_names: tuple[str, ...] = ()
    """Over TLS, to who has a certificate for one of these names; none: in clear text."""


@dataclass(frozen=True)
class Pipeline:
    """One pipeline of CTP. No AE titles given: any."""

    name: str
    index: int
    import_port: int
    called_aets: frozenset[str]
    calling_aets: frozenset[str]
    script: str
    filter: str
    export: Export
    stages: tuple[Stage, ...]

    def stage(self, kind: str) -> Stage:
        """The stage of that kind; there is exactly one."""
        return next(stage for stage in self.stages if stage.kind == kind)


@dataclass(frozen=True)
class KeyDB:
    """Where pseudonyms come from; an empty query: the view ``ctp_patient``."""

    host: str
    port: int
    database: str
    query: str
    tls_name: str = ""
    """The name that its certificate is for; empty: whether it has one is its own affair."""


@dataclass(frozen=True)
class Region:
    """A rectangle of pixels, counted from the top left corner of each frame."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Declared:
    """What is to be blanked in the images of a device. An empty SOP Class: in any."""

    sop_class: str
    manufacturer: str
    model: str
    rows: int
    columns: int
    regions: tuple[Region, ...]


@dataclass(frozen=True)
class Settings:
    """All that the program works with."""

    configuration: Path
    distribution: Path
    secrets: Path
    memory: Path
    bind: str
    engine: str
    dicom_port: int
    web_port: int
    ctp_web_port: int
    heap_mib: int
    minimum_free_mib: int
    largest_object_mib: int
    account_days: int
    """So long a complete study stays in the account."""
    account_quiet_minutes: int
    """A series of which the newest object is younger is still arriving."""
    sync_before_acknowledge: bool
    stop_seconds: int
    pseudonym_prefixes: tuple[str, ...]
    issuers: tuple[str, ...]
    """By which a patient is known who is in KeyDB without one; empty: none in the object."""
    lookup_table: Path
    date_shift: bool
    keydb: KeyDB
    pipelines: tuple[Pipeline, ...]
    deidentification: tuple[str, ...] = ()
    """Preset and options of each pipeline, for the status."""
    pixel_regions: tuple[Declared, ...] = ()
    """What is to be blanked in images that leave."""
    trusted: str = ""
    """File of the CAs that are trusted; empty: those of the system."""

    @property
    def data(self) -> Path:
        """The data directory: roots, quarantines, lookup table, UID key, counters."""
        return self.lookup_table.parent

    def secret(self, name: str) -> str:
        """Content of a secret file without its line end.

        Raises ``SettingsError`` naming the file when it is missing, unreadable or empty.
        """
        return read_secret(self.secrets, name)


def load(environment: Mapping[str, str]) -> Settings:
    """Read the variables of the table and ``supervisor.json``.

    Raises ``SettingsError`` naming the file and the key.
    """
    configuration = reading.configuration(environment)
    path = configuration / "supervisor.json"
    read = reading.read(path)
    keydb = read.part("keydb")
    settings = Settings(
        configuration=configuration,
        distribution=Path(environment.get("CTP_DISTRIBUTION_DIRECTORY") or "/opt/ctp"),
        secrets=reading.secrets(environment),
        memory=Path(environment.get("CTP_MEMORY_DIRECTORY") or "/dev/shm"),
        bind=reading.bind(environment),
        engine=read.text("engine"),
        dicom_port=read.number("dicom_port", 1, 65535),
        web_port=read.number("web_port", 1, 65535),
        ctp_web_port=read.number("ctp_web_port", 1, 65535),
        heap_mib=read.number("heap_mib", 64, 1048576),
        minimum_free_mib=read.number("minimum_free_mib", 1, 1048576 * 16),
        largest_object_mib=read.number("largest_object_mib", 1, 1048576),
        account_days=read.number("account_days", 1, 3660),
        account_quiet_minutes=read.number("account_quiet_minutes", 1, 1440),
        sync_before_acknowledge=read.boolean("sync_before_acknowledge"),
        stop_seconds=read.number("stop_seconds", 1, 86400),
        pseudonym_prefixes=tuple(read.texts("pseudonym_prefixes")),
        issuers=tuple(read.texts("issuers", empty=True)),
        lookup_table=Path(read.text("lookup_table")),
        date_shift=read.boolean("date_shift"),
        keydb=KeyDB(
            keydb.text("host"),
            keydb.number("port", 1, 65535),
            keydb.text("database"),
            keydb.text("query", empty=True).rstrip("; \n"),
            keydb.text("tls_name", empty=True),
        ),
        pipelines=tuple(_pipeline(part) for part in read.parts("pipelines")),
        deidentification=tuple(read.texts("deidentification")),
        pixel_regions=tuple(_declared(part) for part in read.parts("pixel_regions")),
        trusted=read.text("trusted", empty=True),
    )
    if settings.engine not in ENGINES:
        raise SettingsError(f"{path}: engine is {settings.engine!r}. Accepted: ctp or standin.")
    if not settings.pseudonym_prefixes or not settings.pipelines:
        raise SettingsError(f"{path}: pseudonym_prefixes and pipelines need at least one entry.")
    if not settings.lookup_table.is_absolute():
        raise SettingsError(f"{path}: lookup_table has to be an absolute path.")
    _refuse_shared(settings, path)
    return settings


def _refuse_shared(settings: Settings, path: Path) -> None:
    ports = [settings.dicom_port, settings.web_port, settings.ctp_web_port]
    directories: list[Path] = []
    for index, pipeline in enumerate(settings.pipelines):
        if pipeline.index != index:
            raise SettingsError(f"{path}: pipeline {pipeline.name!r} has the wrong index.")
        if tuple(stage.kind for stage in pipeline.stages) != STAGE_KINDS or any(
            stage.index != number for number, stage in enumerate(pipeline.stages)
        ):
            raise SettingsError(
                f"{path}: the stages of {pipeline.name!r} have to be {', '.join(STAGE_KINDS)}."
            )
        ports += [pipeline.import_port, pipeline.export.listen_port]
        for stage in pipeline.stages:
            directories += [stage.root, stage.quarantine]
    if len(set(ports)) != len(ports):
        raise SettingsError(f"{path}: two ports are the same.")
    if len(set(directories)) != len(directories):
        raise SettingsError(f"{path}: two stages share a directory.")
    data = settings.data
    for directory in directories:
        if data not in directory.parents:
            raise SettingsError(f"{path}: {directory} does not lie under {data}.")


def _declared(read: Reader) -> Declared:
    rows, columns = read.number("rows", 1, 65535), read.number("columns", 1, 65535)
    return Declared(
        read.text("sop_class", empty=True),
        read.text("manufacturer"),
        read.text("model"),
        rows,
        columns,
        tuple(_region(each, rows, columns) for each in read.parts("regions")),
    )


def _region(read: Reader, rows: int, columns: int) -> Region:
    left, top = read.number("x", 0, columns - 1), read.number("y", 0, rows - 1)
    width, height = read.number("width", 1, columns - left), read.number("height", 1, rows - top)
    return Region(left, top, width, height)


def _pipeline(read: Reader) -> Pipeline:
    export = read.part("export")
    return Pipeline(
        name=read.text("name"),
        index=read.number("index", 0, 1000),
        import_port=read.number("import_port", 1, 65535),
        called_aets=frozenset(read.texts("called_aets")),
        calling_aets=frozenset(read.texts("calling_aets")),
        script=read.text("script"),
        filter=read.text("filter"),
        export=Export(
            export.number("listen_port", 1, 65535),
            export.text("host"),
            export.number("port", 1, 65535),
            export.number("greeting_port", 0, 65535),
            tuple(export.texts("tls_names")),
        ),
        stages=tuple(
            Stage(
                stage.number("index", 0, 100),
                stage.text("kind"),
                Path(stage.text("root")),
                Path(stage.text("quarantine")),
            )
            for stage in read.parts("stages")
        ),
    )
