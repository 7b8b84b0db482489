"""A run over the parts of one kind of data: taken, stored, restored, verified."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from . import base, engine, forms, parts, restic, trees


class Run:
    """What is done for one kind of data."""

    def __init__(self, settings: Mapping[str, Any], kind: str) -> None:
        """Raises ``BackupError`` when the kind has no repository on this machine."""
        if kind not in settings["kinds"]:
            raise base.BackupError(
                f"This machine has no backup of the kind {kind}. Set backup_{kind}_repository, "
                "then run site.yml."
            )
        self.kind = kind
        self.node = str(settings["node"])
        self.config_root = Path(settings["config_root"])
        #: What `chosen` has passed over, in words.
        self.still_to_come = ""
        self.settings = settings["kinds"][kind]
        self.restic = restic.Restic(kind, self.settings, self.node)
        # CTP before all else: what has left its queues by then is found in Orthanc later.
        order = list(forms.PARTS)
        self.parts = [
            forms.PARTS[each["form"]](each)
            for each in sorted(self.settings["parts"], key=lambda each: order.index(each["form"]))
        ]

    # Backing up

    def backup(self, adopt: bool) -> dict[str, Any]:
        """Take a snapshot, and forget those that are due. Raises ``BackupError``."""
        began = time.monotonic()
        for part in self.parts:
            if (part.directory / base.RESTORING).exists():
                raise base.BackupError(
                    f"A restore of {part.name} was begun and not finished. Run "
                    f"playbooks/restore.yml again."
                )
        self.cleanup()
        listed = self.restic.open(write=True, adopt=adopt)
        mine = restic.of_node(listed, self.node, self.kind)
        ahead = restic.ahead(mine, datetime.now(timezone.utc))
        try:
            for attempt in range(1, base.TAKES + 1):
                manifest = self._take()
                if not adopt:
                    refuse_emptied(self.kind, self.node, manifest["counts"])
                snapshot, added = self._store(ahead)
                unstable = sum(part.unstable() for part in self.parts)
                if not unstable:
                    break
                base.say(f"{unstable} files were deleted in Orthanc meanwhile: taken again")
                self.restic.run("forget", snapshot)
                if attempt == base.TAKES:
                    raise base.BackupError(
                        f"Objects were deleted in Orthanc during each of {base.TAKES} attempts, so "
                        "that index and storage do not belong together. Run it again when nobody "
                        "deletes."
                    )
        finally:
            self.cleanup()
        snapshot = self._complete(snapshot)
        self.restic.remember()
        note_counts(self.kind, manifest["counts"])
        warnings = self._forget(listed)
        missing = manifest["counts"].get("missing", 0)
        return {
            "snapshot": snapshot,
            "bytes_added": added,
            "seconds": round(time.monotonic() - began, 1),
            "counts": manifest["counts"],
            "held_seconds": {part.name: round(part.seconds, 2) for part in self.parts},
            "warnings": warnings,
            "ahead": len(restic.to_come(mine, datetime.now(timezone.utc))),
            "error": (
                f"{missing} files that Orthanc's index names were missing from its storage before "
                "the backup began. The rest is saved. Look at Orthanc's disk."
                if missing
                else None
            ),
        }

    def _take(self) -> dict[str, Any]:
        manifest: dict[str, Any] = {
            "node": self.node,
            "kind": self.kind,
            "taken": {},
            "images": {},
            "counts": {},
        }
        for part in self.parts:
            part.stage.parent.mkdir(mode=0o700, exist_ok=True)
            base.say(f"taking {part.name}")
            manifest["counts"].update(part.take())
            manifest["taken"][part.name] = part.when
            manifest["images"][part.name] = part.image()
        for part in self.parts:
            beside = part.stage / "node"
            beside.mkdir(mode=0o700)
            trees.write_file(beside / "manifest.json", json.dumps(manifest, indent=2) + "\n")
            # What was deployed, for a person to compare. Neither secrets nor keys lie in these
            # files.
            for file in (
                *self.config_root.glob("stack-*.json"),
                *self.config_root.glob("firewall*.nft"),
            ):
                shutil.copyfile(file, beside / file.name)
        return manifest

    def _store(self, ahead: Iterable[Mapping[str, Any]]) -> tuple[str, int]:
        tags = [
            "auscat",
            self.kind,
            "unchecked",
            *(f"{part.name}.{part.when}" for part in self.parts),
            # Still so when that time has passed: this one is newer.
            *(f"{restic.AHEAD}.{str(each['id'])[:8]}" for each in ahead),
        ]
        arguments = ["backup", "--json", "--host", self.node]
        arguments += [word for tag in tags for word in ("--tag", tag)]
        arguments += [f"--exclude={each}" for part in self.parts for each in part.excludes()]
        base.say(f"storing in {self.restic.repository}")
        done = self.restic.ask(*arguments, *(path for part in self.parts for path in part.paths()))
        summary = restic.summary_of(done.stdout)
        # 3: something could not be read. What Orthanc has deleted since is looked at by the caller.
        if done.returncode not in (0, 3) or summary is None:
            raise base.BackupError(restic.explain(done.stderr + "\n" + done.stdout[-2000:]))
        if done.returncode == 3:
            unread = [
                line for line in (done.stderr + done.stdout).splitlines()
                if '"error"' in line and "no such file or directory" not in line.lower()
            ]  # fmt: skip
            if unread or self.kind == "identifiable":
                raise base.BackupError(
                    f"Files could not be read: {(unread or [done.stderr[-300:]])[0][:300]}"
                )
        return str(summary["snapshot_id"]), int(summary["data_added"])

    def _complete(self, snapshot: str) -> str:
        self.restic.run("tag", "--remove", "unchecked", "--add", "complete", snapshot)
        # A snapshot with other tags is another snapshot, which names the one that it was.
        (made,) = (
            each for each in self.restic.snapshots()
            if str(each.get("original") or "").startswith(snapshot)
        )  # fmt: skip
        return str(made["id"])[:8]

    def _forget(self, before: Sequence[Mapping[str, Any]]) -> list[str]:
        """Forget what is due, and return what is to be told.

        restic counts from the newest back: where that is one whose time is still to come, those of
        now would be forgotten for it. So nothing is forgotten until that time.
        """
        left = [
            str(each["id"]) for each in before
            if each.get("hostname") == self.node and "unchecked" in (each.get("tags") or [])
        ]  # fmt: skip
        if left:
            self.restic.run("forget", *left)
        moment = datetime.now(timezone.utc)
        mine = restic.of_node(before, self.node, self.kind)
        if restic.to_come(mine, moment):
            base.say("nothing is forgotten: the clock was ahead, or is behind")
            return [
                restic.still_to_come(mine, moment)
                + " Until that time nothing is forgotten. Check the clock (timedatectl); where it "
                "is right now, remove them: `restic forget ID` (docs/backup.md)."
            ]
        base.say("forgetting what is due")
        keep = self.settings["keep"]
        self.restic.run(
            "forget", "--prune", "--host", self.node, "--tag", f"{self.kind},complete",
            "--group-by", "host",
            "--keep-within", "2d", *(f"--keep-{period}={keep[period]}" for period in keep),
        )  # fmt: skip
        return []

    # Restoring

    def chosen(self, which: str, not_after: str | None) -> dict[str, Mapping[str, Any]]:
        """Return the snapshot of each part. CTP's is the newest that is not newer than
        Orthanc's."""
        mine = restic.of_node(self.restic.open(write=False), self.node, self.kind)
        limit = restic.parse_time(not_after) if not_after else None
        moment = datetime.now(timezone.utc)
        self.still_to_come = restic.still_to_come(mine, moment)
        return {
            part.name: restic.choose(
                mine, part.name, which, limit if part.name == "ctp" else None, moment
            )
            for part in self.parts
        }

    def restore(
        self,
        which: str,
        not_after: str | None,
        logins: Mapping[str, Mapping[str, str]],
        replace: bool,
    ) -> dict[str, Any]:
        """Put the data of this kind into the directories of the services. Raises
        ``BackupError``.

        Each keeps its mark until ``finish``: whatever interrupts a restore of several parts, all of
        them
        are restored anew, and never one beside another of an earlier try.
        """
        engine.remove_leftovers()
        for part in self.parts:
            if engine.container_of(part.service) or engine.paused(part.service):
                raise base.BackupError(
                    f"{part.service} runs. Remove the stack first: nothing was changed."
                )
            if (
                not part.is_empty()
                and not (part.directory / base.RESTORING).exists()
                and not replace
            ):
                raise base.BackupError(
                    f"{part.directory} holds data. Nothing was changed. To put it aside and "
                    f"restore: -e restore_replace={self.node}."
                )
        chosen = self.chosen(which, not_after)
        done: dict[str, Any] = {"parts": {}, "warnings": []}
        if self.still_to_come:
            done["warnings"].append(self.still_to_come)
        for part in self.parts:
            snapshot = chosen[part.name]
            manifest, words = self._restore_part(part, snapshot, logins.get(part.name, {}))
            done["parts"][part.name] = {
                "snapshot": str(snapshot["id"])[:8],
                "taken": manifest["taken"][part.name],
                "result": words,
                "counts": manifest["counts"],
            }
        # Until finish, the marks in the data forbid a backup still.
        self.restic.remember()
        counts: dict[str, Any] = {}
        for restored in done["parts"].values():
            counts.update(restored["counts"])
        note_counts(self.kind, counts)
        moment = restic.taken(chosen["ctp"], "ctp") if "ctp" in chosen else None
        if moment and not_after and moment > restic.parse_time(not_after):
            done["warnings"].append(
                f"CTP's data is of {moment:%Y-%m-%d %H:%M:%S}Z and Orthanc's of {not_after}, and "
                "no older one of CTP is there. What reached Orthanc between the two is in "
                "neither: send again what came in then."
            )
        return done

    def _restore_part(
        self, part: parts.Part, snapshot: Mapping[str, Any], logins: Mapping[str, str]
    ) -> tuple[dict[str, Any], str]:
        marker = part.directory / base.RESTORING
        if not marker.exists():
            moment = datetime.now(timezone.utc)
            aside = "" if part.is_empty() else f"{base.ASIDE}{moment:%Y%m%dT%H%M%SZ}"
            trees.mark_restore(part.directory, aside)
        elif not (marker / base.MOVING).exists():
            base.say(f"an earlier restore of {part.name} was interrupted: starting over")
            # The mark last of all, and only what is in it: it stays from try to try.
            trees.empty(part.directory)
            trees.empty(marker)
        trees.put_aside(part.directory)
        base.say(f"restoring {part.name} from {str(snapshot['id'])[:8]}")
        manifest = self._fetch(part, snapshot, part.directory)
        base.say(f"checking {part.name}")
        words = part.check(part.directory, manifest, logins)
        trees.empty(marker)
        return manifest, words

    def finish(self) -> None:
        """Take the marks of a restore away: services may run on the data."""
        for part in self.parts:
            trees.remove_tree(part.directory / base.RESTORING)

    def _fetch(self, part: parts.Part, snapshot: Mapping[str, Any], target: Path) -> dict[str, Any]:
        """Restore one part of a snapshot into ``target``, which holds the directory RESTORING."""
        path = restic.path_of(snapshot, part.name)
        size = json.loads(
            self.restic.run(
                "stats", "--json", "--no-lock", "--mode", "restore-size", str(snapshot["id"])
            )
        )["total_size"]
        trees.needs_space(target, int(size))
        marker = target / base.RESTORING
        self.restic.run(
            "restore",
            "--no-lock",
            str(snapshot["id"]),
            "--target",
            str(marker / "tree"),
            "--include",
            path,
        )
        restored = marker / "tree" / path.lstrip("/")
        stage = restored / base.STAGE / part.name if part.form == "orthanc" else restored
        manifest: dict[str, Any] = json.loads((stage / "node" / "manifest.json").read_text())
        part.put(restored, target, manifest)
        return manifest

    # Trying

    def verify(self) -> str:
        """Restore the newest snapshot beside the data, try it, and remove it. Raises
        ``BackupError``."""
        self.cleanup()
        base.say(f"checking the repository of {self.kind} data")
        self.restic.open(write=False)
        self.restic.unlock()
        self.restic.run("check")
        words = []
        try:
            for part in self.parts:
                snapshot = self.chosen("latest", None)[part.name]
                scratch = part.directory / base.SCRATCH
                scratch.mkdir(mode=0o700)
                (scratch / base.RESTORING).mkdir(mode=0o700)
                os.chown(scratch, int(part.settings["owner"]), int(part.settings["group"]))
                base.say(f"restoring {part.name} from {str(snapshot['id'])[:8]} into {scratch}")
                manifest = self._fetch(part, snapshot, scratch)
                words.append(part.check(scratch, manifest, part.random_logins()))
        finally:
            self.cleanup()
        return "; ".join([*words, *([self.still_to_come] if self.still_to_come else [])])

    def cleanup(self) -> None:
        """Remove what this or an earlier run left, and let go what it held."""
        engine.remove_leftovers()
        for part in self.parts:
            for container in engine.paused(part.service):
                engine.docker("unpause", container)
            for name in (base.STAGE, base.SCRATCH, base.BEGINNING):
                trees.remove_tree(part.directory / name)


#: What patients' data is counted by: none where there was some is another, empty, disk.
HELD = {"studies": "studies", "key_pairs": "key pairs"}


def refuse_emptied(kind: str, node: str, counts: Mapping[str, Any]) -> None:
    """Refuse a backup of nothing where the last one, or what was restored, held something.

    The note of a repository lies on the machine's own disk, and stays when that of the data is
    lost: a node that starts on an empty one must not age out the backups of the full one.

    Raises:
        BackupError: no study or key pair is left of those that were there.
    """
    before: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        before = json.loads(_counts_path(kind).read_text())
    for name, title in HELD.items():
        if before.get(name) and counts.get(name) == 0:
            raise base.BackupError(
                f"This machine holds no {title}, and the last backup held {before[name]}. Nothing "
                "was written, so that the old ones are not forgotten in favour of an empty node. "
                "Is the disk of the data mounted? Restore them (playbooks/restore.yml), or, where "
                f"all were removed on purpose: playbooks/backup.yml -e backup_adopt={node}."
            )


def note_counts(kind: str, counts: Mapping[str, Any]) -> None:
    """Note how much there is of what `refuse_emptied` compares."""
    held = {name: counts[name] for name in HELD if counts.get(name) is not None}
    trees.write_file(_counts_path(kind), json.dumps(held) + "\n")


def _counts_path(kind: str) -> Path:
    return base.STATE / f"{kind}.counts.json"


def note(kind: str, result: Mapping[str, Any], max_age_hours: int) -> None:
    """Write how a backup went, for the status. The last good snapshot stays known."""
    path = base.STATE / f"{kind}.json"
    before: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        before = json.loads(path.read_text())
    finished = base.now()
    ok = not result.get("error")
    snapshot = result.get("snapshot") or before.get("snapshot")
    ahead = (result if result.get("snapshot") else before).get("ahead")
    state = {
        "finished": finished,
        "ok": ok,
        "error": result.get("error"),
        "snapshot": snapshot,
        "bytes_added": int(result.get("bytes_added") or 0),
        "max_age_hours": max_age_hours,
        "last_ok": finished if result.get("snapshot") and ok else before.get("last_ok"),
        "seconds": result.get("seconds"),
        "counts": result.get("counts") or before.get("counts"),
        "held_seconds": result.get("held_seconds"),
        "ahead": int(ahead or 0),
    }
    trees.write_file(path, json.dumps(state, indent=2) + "\n")
