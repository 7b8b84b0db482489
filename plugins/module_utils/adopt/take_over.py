"""The old services of a node made by hand: stopped, their data taken, and all of it given back.

What was done is noted before it is done, in a file of root's: after an interruption the next run
goes on from there, or back. Nothing of the old stack is removed before `settle`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.adopt import moving
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import (
    CommandError,
    docker_objects,
    run,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.files import write
from ansible_collections.auscat.imaging.plugins.module_utils.services import psql, scram
from ansible_collections.auscat.imaging.plugins.module_utils.services.keydb import (
    identifier,
    literal,
)
from ansible_collections.auscat.imaging.plugins.module_utils.stack.carry_over import (
    CarryOverError,
    orthanc_objects,
)
from ansible_collections.auscat.imaging.plugins.module_utils.stack.data_copy import DataCopy

LABEL_STACK = "com.docker.stack.namespace"
LABEL_SERVICE = "com.docker.swarm.service.name"
#: Who sends comes first, so that nothing is on its way when the next one stops.
ORDER = ("ctp", "orthanc", "keydb")
#: Below these entries of Orthanc's directory no file is ever rewritten (`orthanc_service`).
LINKED = ("[0-9a-f][0-9a-f]",)
ENDED = ("complete", "shutdown", "failed", "rejected", "remove", "orphaned")
QUIET_LOOKS = 2
POLL_SECONDS = 0.5


def mesh_ports(service: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the ports that a service has in Swarm's ingress mesh: published, target, protocol.

    Args:
        service: an entry of ``docker service inspect``. A port that Swarm has chosen itself stands
            in its endpoint alone.
    """
    declared = (service["Spec"].get("EndpointSpec") or {}).get("Ports") or []
    given = (service.get("Endpoint") or {}).get("Ports") or []
    wanted = {(port["TargetPort"], port.get("Protocol", "tcp")) for port in declared}
    return [
        {
            "published": port["PublishedPort"],
            "target": port["TargetPort"],
            "protocol": port.get("Protocol", "tcp"),
        }
        for port in given
        if port.get("PublishMode", "ingress") == "ingress"
        and (port["TargetPort"], port.get("Protocol", "tcp")) in wanted
    ]


class TakeOverError(RuntimeError):
    """The old services or their data are not as they should be; the text is for an operator."""


class TakeOver:
    """The way from the old services to ours, and back.

    Args:
        note: file that keeps what was done.
        copies: directory of root's for the copy of Orthanc's index, on the file system of the data.
        timeout: seconds within which services must have stopped, or must run again.
    """

    def __init__(self, note: Path, copies: Path, timeout: float) -> None:
        self.note = note
        self.copies = copies
        self.timeout = timeout
        self.notes: list[str] = []

    def noted(self) -> dict[str, Any]:
        """Return what was noted: services, moves, verifiers, limited…; {} where nothing was."""
        if not self.note.exists():
            return {}
        found: dict[str, Any] = json.loads(self.note.read_text(encoding="utf-8"))
        return found

    def _write(self, noted: Mapping[str, Any]) -> None:
        self.note.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write({self.note: (json.dumps(noted, indent=1) + "\n", 0o600)})

    # Taking

    def take(
        self,
        parts: Mapping[str, Mapping[str, Any]],
        moves: Iterable[tuple[str, str]],
        passwords: Mapping[str, str],
        limited: bool = False,
    ) -> dict[str, Any]:
        """Stop the old services and bring their data where ours expect them.

        Args:
            parts: orthanc, ctp and keydb, as far as they are there, each with name and stack of its
                service and, of keydb, user (its superuser).
            moves: where data are and where they shall be, directories that are there.
            passwords: roles of KeyDB to the passwords that they get.
            limited: whether the rules of this project were loaded before all this.

        Returns:
            What was noted.

        Raises:
            TakeOverError, MoveError, DataCopyError, CommandError, OSError: what was begun is noted.
        """
        noted = self.noted()
        if noted.get("settled"):
            # What stood is being removed, and ours has the data.
            return noted
        if not noted:
            listed = [moving.planned(Path(source), Path(target)) for source, target in moves]
            noted = {
                "services": {
                    parts[part]["name"]: {
                        "part": part,
                        **self._declared(parts[part]["name"]),
                    }
                    for part in ORDER
                    if part in parts
                },
                "moves": listed,
                "orthanc": self._orthanc_move(parts, listed),
                "archive": parts.get("orthanc", {}).get("data", ""),
                "user": parts.get("keydb", {}).get("user", ""),
                # Before anything stops: a role that is missing is said now.
                "verifiers": self._verifiers(parts["keydb"], passwords) if "keydb" in parts else {},
                "limited": limited,
                "altered": False,
                "taken": False,
            }
            copy = self._copy(noted, "source")
            if copy:
                copy.require_space()
            self._write(noted)
        copy = self._copy(noted, "source")
        if copy and not copy.is_whole and not noted["taken"]:
            # Links, while the old Orthanc still runs.
            copy.prepare()
        for part in ORDER:
            name = self._name(noted, part)
            if name is None:
                continue
            if part == "keydb" and passwords and not noted["altered"]:
                made = {role: scram.verifier(password) for role, password in passwords.items()}
                self._alter(name, noted["user"], made)
                noted["altered"] = True
                self._write(noted)
            self.stop(name)
            self._free(name, noted["services"][name]["mesh"])
            if part == "orthanc" and copy and not noted["taken"]:
                copy.take()
        for move in noted["moves"]:
            moving.take(move)
        if noted["orthanc"] and copy is None:
            # Its new place lies below the old one, which is a disk of its own.
            late = self._copy(noted, "destination")
            if late and not late.is_whole and not noted["taken"]:
                late.prepare()
                late.take()
        noted["taken"] = True
        self._write(noted)
        return noted

    @staticmethod
    def _name(noted: Mapping[str, Any], part: str) -> str | None:
        return next((n for n, each in noted["services"].items() if each["part"] == part), None)

    @staticmethod
    def _orthanc_move(
        parts: Mapping[str, Any], moves: Iterable[Mapping[str, Any]]
    ) -> dict[str, str]:
        data = parts.get("orthanc", {}).get("data", "")
        return next(
            ({"source": m["source"], "destination": m["destination"]}
             for m in moves if m["source"] == data and not m["copied"]),
            {},
        )  # fmt: skip

    def _copy(self, noted: Mapping[str, Any], place: str) -> DataCopy | None:
        """Return the copy of Orthanc's index beside links to its files, seen from a place.

        None where nothing is renamed, and at the source where the destination lies below it.
        """
        if not noted["orthanc"]:
            return None
        directory = Path(noted["orthanc"][place])
        if self.copies.is_relative_to(directory):
            return None
        return DataCopy("orthanc", directory, self.copies, LINKED)

    @staticmethod
    def _declared(name: str) -> dict[str, Any]:
        """Return what is changed of a service, as it is: stack, replicas, ports of the mesh."""
        found = json.loads(run(["docker", "service", "inspect", name]))[0]
        specification = found["Spec"]
        return {
            "stack": (specification.get("Labels") or {}).get(LABEL_STACK) or "",
            "replicas": int(specification["Mode"].get("Replicated", {}).get("Replicas", 1)),
            "mesh": mesh_ports(found),
        }

    def _container(self, name: str) -> str:
        found = run(
            ["docker", "ps", "--quiet", "--filter", f"label={LABEL_SERVICE}={name}"]
        ).split()
        return found[0] if found else ""

    def _verifiers(self, keydb: Mapping[str, Any], passwords: Mapping[str, str]) -> dict[str, str]:
        """Return the verifiers that the roles have now.

        Raises:
            TakeOverError: KeyDB does not run, or lacks a role.
        """
        if not passwords:
            return {}
        name = keydb["name"]
        names = ", ".join(literal(role) for role in passwords)
        found = json.loads(
            self._asked(
                name,
                keydb["user"],
                "SELECT coalesce(json_object_agg(rolname, coalesce(rolpassword, '')), '{}')"
                f" FROM pg_authid WHERE rolname IN ({names});",
            )
        )
        absent = sorted(passwords.keys() - found.keys())
        if absent:
            raise TakeOverError(
                f"The database of {name} has no role {', '.join(absent)}. Accepted: roles that "
                f"exist. Create it (CREATE ROLE {absent[0]} LOGIN;), let it read the pairs, and "
                "run this again."
            )
        return {str(role): str(verifier) for role, verifier in found.items()}

    def _alter(self, name: str, user: str, verifiers: Mapping[str, str]) -> None:
        """Set verifiers, which the server takes as they are; an empty one is none."""
        statements = [
            f"ALTER ROLE {identifier(role)} PASSWORD {literal(value) if value else 'NULL'};"
            for role, value in verifiers.items()
        ]
        self._asked(name, user, "\n".join(["BEGIN;", *statements, "COMMIT;"]))

    def _asked(self, name: str, user: str, statements: str) -> str:
        """Ask KeyDB, which takes a moment to begin where its engine was restarted.

        Raises:
            TakeOverError: it does not run, or does not do it.
        """
        deadline = time.monotonic() + self.timeout
        while True:
            container = self._container(name)
            why = "no container of it runs"
            if container:
                try:
                    return run(
                        psql.command(container, user=user, database="postgres"), stdin=statements
                    )
                except CommandError as error:
                    why = str(error)
            if time.monotonic() > deadline:
                raise TakeOverError(
                    f"{name} could not be asked as {user!r} within {self.timeout:.0f} s: {why}. "
                    "Its passwords are set while it runs."
                )
            time.sleep(POLL_SECONDS)

    def stop(self, name: str) -> None:
        """Stop a service and wait until none of its containers runs or is about to.

        Raises:
            TakeOverError: it does not stop.
        """
        run(["docker", "service", "update", "--detach", "--quiet", "--replicas", "0", name])
        deadline = time.monotonic() + self.timeout
        quiet = 0
        while quiet < QUIET_LOOKS:
            quiet = 0 if self._container(name) or self._unfinished(name) else quiet + 1
            if time.monotonic() > deadline:
                raise TakeOverError(f"{name} did not stop within {self.timeout:.0f} s.")
            time.sleep(POLL_SECONDS)

    @staticmethod
    def _free(name: str, ports: Iterable[Mapping[str, Any]]) -> None:
        """Take from a service the ports of the ingress mesh, which it keeps without a task, too.

        Swarm refuses a port of the machine that a service has in the mesh (swarmkit,
        manager/controlapi/service.go, checkPortConflicts).
        """
        listed = [f"--publish-rm={port['target']}/{port['protocol']}" for port in ports]
        if listed:
            run(["docker", "service", "update", "--detach", "--quiet", *listed, name])

    @staticmethod
    def _unfinished(name: str) -> bool:
        form = "{{.CurrentState}}"
        states = run(["docker", "service", "ps", "--format", form, name]).splitlines()
        return any(state.split()[0].lower() not in ENDED for state in states if state.strip())

    # Giving back

    def give_back(self) -> None:
        """Bring the data back and run the old services again, as they were.

        Ours must have been removed. What there is to say is in `notes`.

        Raises:
            TakeOverError, CommandError, OSError: what was noted stays, and this may be repeated.
        """
        noted = self.noted()
        if not noted:
            return
        if noted.get("settled"):
            raise TakeOverError(
                "The proof of the new node has passed, and what stood is being removed: there is "
                "no way back. Run take_over.yml without adopt_give_back to finish that."
            )
        added: list[Path] = []
        copy = self._copy(noted, "destination")
        if copy and copy.is_whole and noted["taken"]:
            # Ours may have run on them.
            added = copy.restore()
        for move in noted["moves"]:
            if not move["copied"]:
                moving.give_back(move)
            elif noted["taken"]:
                # Ours may have gone on with the copy.
                self._return(move, noted)
        for part in reversed(ORDER):
            if name := self._name(noted, part):
                self.start(name, noted["services"][name])
                if part == "keydb" and noted["verifiers"]:
                    self._put_back(name, noted)
        if added:
            self._store_again(noted, added)
        self._forget(noted)

    def _return(self, move: Mapping[str, Any], noted: Mapping[str, Any]) -> None:
        if move["source"] != noted["archive"]:
            moving.give_back(move)
            return
        # Another version of Orthanc has run on it.
        self.notes.append(
            f"{move['source']} is as it was. {move['destination']} holds the copy, with all that "
            "Orthanc took in since: send from there what is missed, then remove it."
        )

    def _put_back(self, name: str, noted: Mapping[str, Any]) -> None:
        self._alter(name, noted["user"], noted["verifiers"])

    def start(self, name: str, declared: Mapping[str, Any]) -> None:
        """Run a service again as it was declared, and wait until its containers do.

        Raises:
            TakeOverError: it does not run.
        """
        replicas = declared["replicas"]
        present = self._declared(name)["mesh"]
        ports = [
            f"--publish-add=published={port['published']},target={port['target']},"
            f"protocol={port['protocol']},mode=ingress"
            for port in declared["mesh"]
            if port not in present
        ]
        run(["docker", "service", "update", "--detach", "--quiet", *ports]
            + ["--replicas", str(replicas), name])  # fmt: skip
        deadline = time.monotonic() + self.timeout
        while replicas and not self._runs(name):
            if time.monotonic() > deadline:
                words = run(["docker", "service", "ps", "--no-trunc", name])[-1500:]
                raise TakeOverError(
                    f"{name} does not run again within {self.timeout:.0f} s. Its definition and "
                    f"its data are as they were. Its tasks:\n{words}"
                )
            time.sleep(POLL_SECONDS)

    def _runs(self, name: str) -> bool:
        container = self._container(name)
        if not container:
            return False
        form = "{{if .State.Health}}{{.State.Health.Status}}{{else}}healthy{{end}}"
        return run(["docker", "inspect", "--format", form, container]).strip() == "healthy"

    def _store_again(self, noted: Mapping[str, Any], added: list[Path]) -> None:
        """Give the old Orthanc the objects that ours took in, which its index does not know."""
        name = self._name(noted, "orthanc")
        if name is None:
            return
        # It is looked for as <stack>_<service>.
        stack, _, plain = name.partition("_")
        source = Path(noted["orthanc"]["source"])
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                setting = {"service": plain, "port": 8042}
                if said := orthanc_objects(stack, setting, source, added):
                    self.notes.append(f"Orthanc: {said}.")
            except (CarryOverError, CommandError, OSError, ValueError) as error:
                if time.monotonic() < deadline:
                    time.sleep(POLL_SECONDS)
                    continue
                self.notes.append(
                    f"Orthanc: what came meanwhile could not be stored again ({error}). It lies "
                    f"below {source} as {len(added)} files that the index does not know."
                )
            return

    # After the proof

    def settle(self) -> list[str]:
        """Remove the old services and what was kept for going back; return what was removed.

        Services that were left alone, volumes, secrets and networks in use stay. There is no way
        back from the first step on, which is noted before it.

        Raises:
            CommandError: the engine refuses.
        """
        noted = {**self.noted(), "settled": True}
        if len(noted) == 1:
            return []
        self._write(noted)
        removed = []
        there = run(["docker", "service", "ls", "--format", "{{.Name}}"]).split()
        for name in noted["services"]:
            if name in there:
                run(["docker", "service", "rm", name])
                removed.append(f"service {name}")
        for stack in sorted({each["stack"] for each in noted["services"].values()} - {""}):
            removed += self._networks(stack)
        self._forget(noted)
        return removed

    def _networks(self, stack: str) -> list[str]:
        """Remove a stack's networks where no service of it is left."""
        label = f"label={LABEL_STACK}={stack}"
        if docker_objects("service", [label]):
            return []
        removed = []
        deadline = time.monotonic() + self.timeout
        for network in docker_objects("network", [label]):
            while True:
                try:
                    run(["docker", "network", "rm", network["Name"]])
                    removed.append(f"network {network['Name']}")
                except CommandError:
                    # Swarm lets go of it a moment after the last container.
                    if time.monotonic() < deadline:
                        time.sleep(POLL_SECONDS)
                        continue
                    self.notes.append(f"The network {network['Name']} is in use and stays.")
                break
        return removed

    def _forget(self, noted: Mapping[str, Any]) -> None:
        if copy := self._copy(noted, "destination"):
            copy.drop()
        self.note.unlink(missing_ok=True)
