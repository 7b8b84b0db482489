"""A service's data, and the form of it that is a directory: how it is taken, put back and tried."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from . import base, engine, trees


class Part:
    """A service's data: ``name``, ``directory`` (on the host), ``service`` (its name in Swarm).

    ``form`` says how it is taken, ``title`` what people call the service.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Take the settings that the role renders."""
        self.name = str(settings["name"])
        self.form = str(settings["form"])
        self.title = str(settings.get("title") or self.name)
        self.settings = settings
        self.directory = Path(settings["directory"])
        self.service = str(settings["service"])
        self.stage = self.directory / base.STAGE / self.name
        self.when = ""
        self.seconds = 0.0

    def paths(self) -> list[str]:
        """What restic takes."""
        return [str(self.stage)]

    def excludes(self) -> list[str]:
        """What restic leaves out."""
        return []

    def take(self) -> dict[str, Any]:
        """Put a consistent copy, or what it needs, into the stage; return what is in it."""
        raise NotImplementedError

    def unstable(self) -> int:
        """Return how much of what was taken is no longer there, so that it must be taken again."""
        return 0

    def put(self, restored: Path, target: Path, manifest: Mapping[str, Any]) -> None:
        """Move what restic restored to ``target``, a directory on the same file system."""
        raise NotImplementedError

    def check(self, target: Path, manifest: Mapping[str, Any], logins: Mapping[str, str]) -> str:
        """Compare what lies in ``target`` with the manifest; return it in words."""
        raise NotImplementedError

    def random_logins(self) -> dict[str, str]:
        """Return the secrets of a database that is made to be tried: file to content."""
        return {}

    def image(self) -> str:
        """Return the image that is deployed, or that the inventory wants."""
        with contextlib.suppress(base.BackupError):
            form = "{{.Spec.TaskTemplate.ContainerSpec.Image}}"
            return engine.docker("service", "inspect", "--format", form, self.service)
        return str(self.settings["image"])

    def is_empty(self) -> bool:
        """Whether the directory holds nothing but what this program made."""
        try:
            names = [path.name for path in self.directory.iterdir()]
        except FileNotFoundError:
            return True
        return all(trees.is_ours(name) or name == "lost+found" for name in names)


class Files(Part):
    """A directory as it is while its service is held."""

    def copy(self, deadline: float) -> int:
        """Copy the files into the stage; return how many. They may be written to afterwards."""
        return trees.copy_tree(self.directory, self.stage / "files", deadline)

    def take(self) -> dict[str, Any]:
        """Copy all files while the service is held: each is in exactly one place then."""
        for _ in range(3):
            trees.remove_tree(self.stage)
            self.stage.mkdir(mode=0o700)
            began = time.monotonic()
            with engine.pause(self.service) as held:
                self.when = datetime.now(timezone.utc).strftime(base.TIME)
                count = self.copy(began + base.PAUSE_SECONDS)
                whole = held()
            self.seconds = time.monotonic() - began
            if whole:
                return {f"{self.name}_files": count}
            base.say(f"{self.title} was restarted meanwhile: once more")
        raise base.BackupError(
            f"{self.title} was restarted each time it was to be held. Wait until it runs."
        )

    def put(self, restored: Path, target: Path, manifest: Mapping[str, Any]) -> None:
        """Move all entries of the copy."""
        for entry in sorted((restored / "files").iterdir()):
            entry.rename(target / entry.name)

    def check(self, target: Path, manifest: Mapping[str, Any], logins: Mapping[str, str]) -> str:
        """Count the files."""
        count = sum(
            path.is_file() and not path.is_symlink()
            for path in target.rglob("*")
            if not trees.is_ours(path.relative_to(target).parts[0])
        )
        wanted = manifest["counts"][f"{self.name}_files"]
        if count != wanted:
            raise base.BackupError(
                f"{self.title}'s directories have {base.counted(count, 'file')} and not {wanted}."
            )
        return f"{base.counted(count, 'file')} of {self.title}"


class Ctp(Files):
    """CTP's queues, quarantines, key of the UIDs and counters."""

    def copy(self, deadline: float) -> int:
        """Note the files and copy no object."""
        return trees.link_tree(self.directory, self.stage / "files", deadline)

    def check(self, target: Path, manifest: Mapping[str, Any], logins: Mapping[str, str]) -> str:
        """Compare the key of the UIDs with its seal, too."""
        words = super().check(target, manifest, logins)
        key, seal = target / "uid.key", target / "uid.key.sha256"
        if key.exists() and seal.exists():
            digest = hashlib.sha256(b"uid.key\n" + key.read_bytes()).hexdigest()
            if seal.read_text().strip() != digest:
                raise base.BackupError("CTP's uid.key is not the one that its seal names.")
        return words + (", key of the UIDs" if key.exists() else "")
