"""The stand-in in CTP's place: a directory with CTP's files, and the process that runs on it."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from pathlib import Path

from ansible_collections.auscat.imaging.plugins.module_utils.ctp.script import (
    UID_KEY_PLACEHOLDER,
    ScriptOptions,
    anonymizer_script,
    filter_script,
)
from ctp_standin.ctp_files import digest
from ctp_standin_doubles import PASSWORD, Process
from ports import free_port

KEY = "5a" * 32
PREFIXES = ["PROOF-", "TRIAL-"]
SCRIPT = anonymizer_script(ScriptOptions()).replace(UID_KEY_PLACEHOLDER, KEY)
FILTER = filter_script(PREFIXES)


def mapped(uid: str, key: str = KEY) -> str:
    """What CTP makes of a UID: the decimal MD5 of it and of what the key's script gives."""
    digest = hashlib.md5(f"{uid}{key}@remove()".encode(), usedforsecurity=False).hexdigest()
    return f"2.25.{int(digest, 16)}"


def pipeline(
    name: str, data: Path, port: int, export_port: int, accept: str = "", script: str = "a.script"
) -> str:
    def stage(kind: str, java_class: str, attributes: str, inside: str = "") -> str:
        where = (
            f'root="{data}/roots/{name}/{kind}" quarantine="{data}/quarantines/{name}/{kind}"'
            f' name="{kind}" class="org.rsna.ctp.stdstages.{java_class}"'
        )
        return f"<{java_class} {where} {attributes}>{inside}</{java_class}>"

    url = f"dicom://ORTHANC:CTP@127.0.0.1:{export_port}"
    return (
        f'<Pipeline name="{name}">'
        + stage("import", "DicomImportService", f'ip="127.0.0.1" port="{port}"', accept)
        + stage("anonymizer", "DicomAnonymizer", f'script="{script}" lookupTable="{data}/t"')
        + stage("filter", "DicomFilter", 'script="f.script"')
        + stage("export", "DicomExportService", f'url="{url}" interval="1000"')
        + "</Pipeline>"
    )


def server(port: int, authentication: str = "yes") -> str:
    return f'<Server port="{port}" requireAuthentication="{authentication}"/>'


class CtpDirectory:
    """Files as they are rendered for CTP, in a working directory of its own."""

    def __init__(self, directory: Path, receiver_port: int, pipelines: int = 1) -> None:
        self.work, self.data = directory / "work", directory / "ctp_temp"
        self.work.mkdir()
        self.data.mkdir()
        self.web_port = free_port()
        self.dicom_ports = [free_port() for _ in range(pipelines)]
        self.config(
            server(self.web_port),
            *(
                pipeline(f"orthanc-{n}", self.data, port, receiver_port)
                for n, port in enumerate(self.dicom_ports, 1)
            ),
        )
        (self.work / "a.script").write_text(SCRIPT)
        (self.work / "f.script").write_text(FILTER)
        (self.work / "users.xml").write_text(
            f'<users mode="digest"><user username="admin" password="{digest(PASSWORD)}">'
            "<role>admin</role></user>"
            f'<user username="guest" password="{digest(PASSWORD)}"/></users>'
        )

    def config(self, *parts: str) -> None:
        (self.work / "config.xml").write_text(f"<Configuration>{''.join(parts)}</Configuration>")

    def know(self, entries: str) -> None:
        """Replace the lookup table, as CTP needs it: whole, and with an age that it believes."""
        table = self.data / "t"
        temporary = table.with_suffix(".new")
        temporary.write_text(entries)
        now = time.time()
        previous = table.stat().st_mtime if table.exists() else 0.0
        modified = max(now - 1.5, previous + 0.01)
        os.utime(temporary, (modified, modified))
        temporary.replace(table)

    def quarantine(self, kind: str, name: str = "orthanc-1") -> Path:
        return self.data / "quarantines" / name / kind

    def root(self, kind: str, name: str = "orthanc-1") -> Path:
        return self.data / "roots" / name / kind

    def process(self, command: list[str] | None = None, **variables: str) -> Process:
        images = Path(__file__).resolve().parents[3] / "images"
        path = os.pathsep.join(map(str, (images / "ctp_standin/src", images / "shared")))
        return Process(
            command or [sys.executable, "-m", "ctp_standin", "--ctp", str(self.work)],
            {**os.environ, "PYTHONPATH": path, **variables},
            self.web_port,
            self.data.parent / "log",
        )
