"""Orthanc's index and storage: taken together, put back and tried."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from . import base, engine, parts, trees

INDEX_FILES = ("index", "index-wal", "index-shm", "index-journal")


class Orthanc(parts.Part):
    """Orthanc's index, and its storage, in which each file is written once."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """See ``Part``."""
        super().__init__(settings)
        self._files: list[str] = []
        self._lacking: set[str] = set()

    def paths(self) -> list[str]:
        """The storage where it is; the stage lies in it."""
        return [str(self.directory)]

    def excludes(self) -> list[str]:
        """The index that Orthanc writes to."""
        return [
            *(f"{self.directory}/{name}" for name in INDEX_FILES),
            *(
                f"{self.directory}/{name}"
                for name in (base.SCRATCH, base.RESTORING, base.BEGINNING, f"{base.ASIDE}*")
            ),
        ]

    def take(self) -> dict[str, Any]:
        """Copy the index while Orthanc is held.

        Orthanc locks it, so SQLite cannot be asked for a copy;
        with its log it is what a killed Orthanc would leave, which SQLite puts in order."""
        source = self.directory / "index"
        if not source.exists():
            raise base.BackupError(
                f"{source} is not there: this Orthanc keeps no SQLite index, which alone is "
                f"backed up."
            )
        sizes = [
            path.stat().st_size
            for name in INDEX_FILES[:2]
            if (path := self.directory / name).exists()
        ]
        trees.needs_space(self.directory, 2 * sum(sizes))
        for _ in range(3):
            trees.remove_tree(self.stage)
            self.stage.mkdir(mode=0o700)
            # Read once before, so that the copy comes from memory.
            with source.open("rb") as warm:
                while warm.read(1 << 22):
                    pass
            began = time.monotonic()
            with engine.pause(self.service) as held:
                self.when = datetime.now(timezone.utc).strftime(base.TIME)
                for name in INDEX_FILES[:2]:
                    if (self.directory / name).exists():
                        shutil.copyfile(self.directory / name, self.stage / name)
                whole = held()
            self.seconds = time.monotonic() - began
            if whole:
                break
            base.say("Orthanc was restarted meanwhile: once more")
        else:
            raise base.BackupError(
                "Orthanc was restarted each time it was to be held. Wait until it runs."
            )
        counts = self._settle(self.stage / "index")
        self._lacking = self._missing(self.directory)
        return {**counts, "missing": len(self._lacking)}

    def _settle(self, index: Path) -> dict[str, int]:
        with contextlib.closing(sqlite3.connect(index)) as database:
            database.execute("PRAGMA journal_mode = DELETE")
            (verdict,) = database.execute("PRAGMA quick_check").fetchone()
            if verdict != "ok":
                raise base.BackupError(f"Orthanc's index is damaged: {verdict[:200]}")
            self._files = [row[0] for row in database.execute("SELECT uuid FROM AttachedFiles")]
            (instances,) = database.execute(
                "SELECT count(*) FROM Resources WHERE resourceType = 4"
            ).fetchone()
            (studies,) = database.execute(
                "SELECT count(*) FROM Resources WHERE resourceType = 2"
            ).fetchone()
        index.chmod(0o600)
        return {"studies": studies, "instances": instances, "files": len(self._files)}

    def _missing(self, storage: Path) -> set[str]:
        return {
            uuid for uuid in self._files if not (storage / uuid[:2] / uuid[2:4] / uuid).is_file()
        }

    def unstable(self) -> int:
        """Files that were deleted while restic read: a file is written once, so one that is still
        there
        was there all the while."""
        return len(self._missing(self.directory) - self._lacking)

    def put(self, restored: Path, target: Path, manifest: Mapping[str, Any]) -> None:
        """Move the storage and the index, without files that the index does not know."""
        stage = restored / base.STAGE / self.name
        owner, group = int(self.settings["owner"]), int(self.settings["group"])
        self._settle(stage / "index")
        known = set(self._files)
        for entry in sorted(restored.iterdir()):
            if trees.is_ours(entry.name):
                continue
            for directory, _, files in os.walk(entry):
                for name in files:
                    # Names of Orthanc's storage area; anything else is kept.
                    if (
                        re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", name)
                        and name not in known
                    ):
                        (Path(directory) / name).unlink()
            entry.rename(target / entry.name)
        os.chown(stage / "index", owner, group)
        (stage / "index").chmod(0o600)
        (stage / "index").rename(target / "index")

    def check(self, target: Path, manifest: Mapping[str, Any], logins: Mapping[str, str]) -> str:
        """Start Orthanc on it, without a network, and let it compare the MD5 of each object."""
        name = f"auscat-{target.name.strip('.')}-orthanc-{os.getpid()}"
        outer = Path(tempfile.mkdtemp(prefix="auscat-backup-", dir=base.RUN))
        wanted = manifest["counts"]
        try:
            settings = outer / "orthanc.json"
            settings.write_text(
                json.dumps(
                    {
                        "Name": "check",
                        "RemoteAccessAllowed": False,
                        # Nobody reaches it, and its guard wants to know who asks.
                        "AuthenticationEnabled": True,
                        "RegisteredUsers": {"check": "check"},
                        "NodeGuard": {
                            "Marks": {
                                "IdentityRemoved": True,
                                "Methods": [],
                                "Codes": [],
                                "PseudonymPrefixes": [],
                            },
                            "Roles": {"check": "admin"},
                        },
                    }
                )
            )
            settings.chmod(0o444)
            engine.docker(
                "run", "--detach", f"--name={name}", f"--label={base.LABEL}",
                "--network=none",
                f"--volume={settings}:/run/secrets/orthanc.json:ro",
                f"--volume={target}:{self.settings['target']}", self.image(),
                what="Starting Orthanc",
            )  # fmt: skip
            process = engine.docker("inspect", "--format", "{{.State.Pid}}", name)
            inside = [
                "nsenter",
                f"--net=/proc/{process}/ns/net",
                sys.executable,
                str(base.LAUNCHER),
                "ask-orthanc",
            ]
            done = subprocess.run(inside, capture_output=True, text=True, check=False)
            if done.returncode:
                log = engine.docker("logs", "--tail", "5", name)
                raise base.BackupError(
                    f"Orthanc does not answer on the restored data: {done.stderr[-300:]} {log}"
                )
            found = json.loads(done.stdout)
            engine.docker("stop", "--time", "90", name)
        finally:
            engine.remove_container(name)
            shutil.rmtree(outer)
        for key in ("studies", "instances"):
            if found[key] != wanted[key]:
                raise base.BackupError(f"Orthanc has {found[key]} {key} and not {wanted[key]}.")
        if found["wrong"] > wanted["missing"]:
            raise base.BackupError(
                f"Orthanc finds {found['wrong']} of {found['instances']} objects damaged or "
                f"missing: {', '.join(found['examples'])}."
            )
        return f"{found['studies']} studies, {found['instances']} objects, each with its MD5"


def ask_orthanc(port: int = 8042, seconds: float = 300) -> dict[str, Any]:
    """Count what Orthanc on this machine's loopback has, and let it verify the MD5 of each
    object."""
    deadline = time.monotonic() + seconds
    login = {"Authorization": f"Basic {base64.b64encode(b'check:check').decode()}"}
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            connection.request("GET", "/statistics", headers=login)
            statistics = json.load(connection.getresponse())
            break
        except OSError:
            if time.monotonic() > deadline:
                raise base.BackupError(f"Orthanc did not answer within {seconds:g} s") from None
            time.sleep(0.3)
    wrong: list[str] = []
    since = 0
    while True:
        connection.request("GET", f"/instances?since={since}&limit=500", headers=login)
        page = json.load(connection.getresponse())
        for instance in page:
            connection.request(
                "POST",
                f"/instances/{instance}/attachments/dicom/verify-md5",
                body="",
                headers=login,
            )
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                wrong.append(instance)
        since += len(page)
        if len(page) < 500:
            break
    return {
        "studies": int(statistics["CountStudies"]),
        "instances": int(statistics["CountInstances"]),
        "verified": since - len(wrong),
        "wrong": len(wrong),
        "examples": wrong[:3],
    }
