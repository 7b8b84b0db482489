"""The stack on this host: deployed service after service, with a way back, and removed.

Swarm's own rollback puts an image back and not the data that the new one migrated: so the data of a
service whose image changes are copied first, and put back with it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.firewall.loaded_rules import (
    not_limited_here,
    published_by,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import (
    CommandError,
    docker_objects,
    manages_a_swarm,
    run,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.engine import Engine
from ansible_collections.auscat.imaging.plugins.module_utils.host.files import write
from ansible_collections.auscat.imaging.plugins.module_utils.stack.carry_over import (
    CarryOverError,
    keydb_pairs,
    orthanc_objects,
)
from ansible_collections.auscat.imaging.plugins.module_utils.stack.changes import (
    changed_services,
    going_back,
    resolved,
    steps,
)
from ansible_collections.auscat.imaging.plugins.module_utils.stack.data_copy import (
    DataCopy,
    DataCopyError,
)
from ansible_collections.auscat.imaging.plugins.module_utils.stack.secret_versions import (
    LABEL_STACK as LABEL_SECRET_STACK,
)
from ansible_collections.auscat.imaging.plugins.module_utils.stack.state import (
    DIGEST_OF,
    LABEL_STACK,
    ServiceState,
    diagnosis,
    failed_tasks,
    read_stack,
    task_ids,
    unfinished_tasks,
)

POLL_INTERVAL = 1.0  # seconds between two questions to the engine
STEADY_SECONDS = 15.0  # for which another version has to stay healthy on data that were copied
QUIET_LOOKS = 2  # in a row that find no task of a service before it counts as stopped
FAILED_TASKS = 2  # after which a new definition is given up, where Swarm itself goes on trying


def present_configs(stack: str) -> dict[str, str]:
    """Return name and content of the Swarm configs that were made for the stack."""
    return {
        config["Spec"]["Name"]: base64.b64decode(config["Spec"]["Data"]).decode()
        for config in docker_objects("config", [f"label={LABEL_STACK}={stack}"])
    }


def create_configs(stack: str, wished: dict[str, str], present: dict[str, str]) -> None:
    """Make the Swarm configs that are not there yet."""
    for name in sorted(wished.keys() - present.keys()):
        arguments = ["docker", "config", "create", "--label", f"{LABEL_STACK}={stack}", name, "-"]
        run(arguments, stdin=wished[name])


def config_diffs(wished: dict[str, str], present: dict[str, str]) -> list[dict[str, str]]:
    """Return before and after of each file that changes, found by its name without the digest."""

    def by_file(configs: dict[str, str]) -> dict[str, str]:
        return {name.rpartition("_")[0]: configs[name] for name in sorted(configs)}

    after, before = by_file(wished), by_file(present)
    return [
        {
            "before": before.get(file, ""),
            "after": after.get(file, ""),
            "before_header": file,
            "after_header": file,
        }
        for file in sorted({*after, *before})
        if before.get(file) != after.get(file)
    ]


def reasons_to_deploy(
    wished: set[str], states: dict[str, ServiceState], rendered: str, present: str, last: Any
) -> list[str]:
    """Return why the stack must be deployed; an empty list when it is as it should be."""
    reasons = []
    if rendered != present:
        reasons.append("the stack file changed" if present else "there is no stack file yet")
    for name in sorted(wished - states.keys()):
        reasons.append(f"the service {name} does not exist")
    for name in sorted(states.keys() - wished):
        reasons.append(f"the service {name} is no longer declared")
    for name in sorted(wished & states.keys()):
        if last.get(name) and not last[name].startswith(DIGEST_OF):
            reasons.append(f"the service {name} was deployed by an earlier version of the role")
        elif last.get(name) not in (None, states[name].spec_digest):
            reasons.append(f"the service {name} was changed outside Ansible")
        elif last.get(name) is None:
            reasons.append(f"the last deployment of the service {name} did not finish")
    return reasons


class StackError(RuntimeError):
    """The stack did not become what it should be; the text is for an operator."""


def copies_of(parameters: dict[str, Any]) -> dict[str, DataCopy]:
    """Return the data that may be copied, by service."""
    return {
        each["service"]: DataCopy(
            each["service"],
            Path(each["path"]),
            Path(parameters["copies"]),
            tuple(each["linked"] or ()),
            each["carry_over"] or {},
        )
        for each in parameters["data"]
    }


def image_of(document: dict[str, Any], service: str) -> str:
    """Return the image of a service; empty where there is no such service."""
    return str(document.get("services", {}).get(service, {}).get("image", ""))


class Stack:
    """The stack on this host: what is declared, what ran before, and the way between the two."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        self.name: str = parameters["name"]
        self.timeout: int = parameters["timeout"]
        self.order: list[str] = parameters["order"]
        self.kept_secrets: list[str] = parameters["kept_secrets"]
        self.limited: bool = parameters["limited"]
        self.copies = copies_of(parameters)
        self._engine: Engine | None = None
        directory = Path(parameters["directory"])
        self.file = directory / f"stack-{self.name}.json"
        #: Digests of the services that were deployed to their end; absent while a deployment runs.
        self.record = directory / f"stack-{self.name}.deployed.json"
        #: What ran before the latest deployment.
        self.before = directory / f"stack-{self.name}.before.json"
        #: Tasks of the services that were stopped, until then.
        self.earlier: dict[str, set[str]] = {}
        #: What there is to say about going back, and what could not be carried over.
        self.notes: list[str] = []
        self.doubts: list[str] = []

    @property
    def engine(self) -> Engine:
        """The engine; whoever only looks at files does not connect to it.

        Raises:
            CommandError: it does not answer.
        """
        self._engine = self._engine or Engine()
        return self._engine

    def present(self) -> str:
        """Return the text of the rendered file."""
        return self.file.read_text() if self.file.exists() else ""

    def last(self) -> dict[str, str]:
        """Return the digests of what was deployed to its end."""
        found: dict[str, str] = json.loads(self.record.read_text()) if self.record.exists() else {}
        return found

    def previous(self) -> dict[str, Any]:
        """Return the stack file to go back to; empty where there is none."""
        if not self.before.exists():
            return {}
        found: dict[str, Any] = json.loads(self.before.read_text())
        return found

    def to_copy(self, document: dict[str, Any], changed: Sequence[str]) -> list[DataCopy]:
        """Return the data that are copied on the way to a stack file."""
        previous = self.previous()
        return [
            self.copies[name]
            for name in changed
            if name in self.copies
            and image_of(previous, name) not in ("", image_of(document, name))
        ]

    def begin(self, rendered: str) -> None:
        """Note what a deployment would go back to. One that was interrupted goes back further.

        Raises:
            DataCopyError: there is no space for the copies; nothing was changed.
            StackError: an interrupted deployment that is not wanted any more cannot be undone.
        """
        document = json.loads(rendered)
        if not self.record.exists() and any(
            image_of(document, name) != image_of(json.loads(self.present() or "{}"), name)
            for name, copy in self.copies.items()
            if copy.is_whole
        ):
            # Data that its image migrated must not meet another one.
            self.go_back()
        present = self.present()
        if self.record.exists() and present:
            self.settle()
            write({self.before: (present, 0o600)})
        changed = changed_services(self.previous(), document) if self.previous() else []
        for copy in self.to_copy(document, changed):
            copy.require_space()

    def deploy(self, rendered: str, configs: dict[str, str]) -> dict[str, ServiceState]:
        """Deploy, service after service; raise `StackError` as soon as one is not healthy."""
        document = json.loads(rendered)
        # Without its record the next run deploys again, should this one be interrupted.
        self.record.unlink(missing_ok=True)
        write({self.file: (rendered, 0o600)})
        create_configs(self.name, configs, present_configs(self.name))
        previous = self.previous()
        way: list[tuple[list[str], dict[str, Any]]] = []
        copies: dict[str, DataCopy] = {}
        if previous:
            changed = changed_services(previous, document, self.order)
            copies = {copy.service: copy for copy in self.to_copy(document, changed)}
            way = steps(previous, document, changed)
        for services, step in way:
            for copy in (copies[name] for name in services if name in copies):
                if copy.is_whole:
                    copy.begin_again()
                else:
                    copy.prepare()
                    self.stop(copy.service)
                    copy.take()
            if len(way) > 1:
                self.apply(step, prune=False)
                self.wait(set(services), True)
                self.earlier.clear()
        self.apply(document, prune=True)
        return self.wait(set(document["services"]), True)

    def apply(self, document: dict[str, Any], prune: bool) -> None:
        """Hand a stack file to the engine."""
        run(
            ["docker", "stack", "deploy", *(["--prune"] if prune else [])]
            + ["--resolve-image", "never", "--compose-file", "-", self.name],
            stdin=json.dumps(document),
            timeout=self.timeout,
        )

    def stop(self, service: str) -> None:
        """Stop a service and wait until none of its containers runs or is about to.

        Swarm starts a task that ended once more after a while, and takes some time to learn that
        none is wanted: so two looks in a row must find nothing.
        """
        name = f"{self.name}_{service}"
        if service not in read_stack(self.name, self.engine):
            return
        # For Swarm it begins anew then, and is no update that it would give up.
        self.earlier[service] = task_ids(self.engine, self.name, service)
        run(["docker", "service", "update", "--detach", "--quiet", "--replicas", "0", name])
        deadline = time.monotonic() + self.timeout
        label = f"label=com.docker.swarm.service.name={name}"
        quiet = 0
        while quiet < QUIET_LOOKS:
            running = run(["docker", "ps", "--quiet", "--filter", label]).split()
            quiet = 0 if running or unfinished_tasks(self.engine, self.name, service) else quiet + 1
            if time.monotonic() > deadline:
                raise StackError(f"{service} did not stop within {self.timeout} s (stack_timeout).")
            time.sleep(POLL_INTERVAL / 2)

    def wait(self, wished: set[str], deployed: bool) -> dict[str, ServiceState]:
        """Poll until every service is healthy; raise `StackError` with a diagnosis."""
        deadline = time.monotonic() + self.timeout
        steady_since = 0.0
        # Swarm watches an update for a while after it, and not what began anew.
        watched = deployed and any(service in self.earlier for service in wished)
        while True:
            states = read_stack(self.name, self.engine)
            waiting = sorted(
                service
                for service in wished
                if service not in states
                or not states[service].converged
                or (deployed and states[service].rolled_back)
            )
            if not waiting:
                steady_since = steady_since or time.monotonic()
                if not watched or time.monotonic() - steady_since >= STEADY_SECONDS:
                    return states
                time.sleep(POLL_INTERVAL)
                continue
            steady_since = 0.0
            gave_up = [
                service
                for service in waiting
                if deployed and service in states and self._given_up(states[service])
            ]
            if gave_up or time.monotonic() > deadline:
                if gave_up:
                    first = states[gave_up[0]]
                    why = first.update_message if first.rolled_back else "its tasks ended"
                    summary = (
                        f"{', '.join(gave_up)} did not become healthy with the new definition: "
                        f"{why}."
                    )
                else:
                    summary = (
                        f"{', '.join(waiting)} did not become healthy within {self.timeout} s "
                        "(stack_timeout)."
                    )
                raise StackError(
                    "\n".join(
                        [summary, *(diagnosis(self.name, each) for each in gave_up or waiting)]
                    )
                )
            time.sleep(POLL_INTERVAL)

    def _given_up(self, state: ServiceState) -> bool:
        if state.rolled_back:
            return True
        earlier = self.earlier.get(state.name)
        return (
            earlier is not None
            and failed_tasks(self.engine, self.name, state.name, earlier) >= FAILED_TASKS
        )

    def finish(self, states: dict[str, ServiceState], wished: set[str]) -> None:
        """Note that all was deployed to its end."""
        digests = {service: states[service].spec_digest for service in sorted(wished)}
        if digests != self.last():
            write({self.record: (json.dumps(digests, indent=2) + "\n", 0o600)})

    def go_back(self) -> dict[str, ServiceState]:
        """Run again what ran before, with its data.

        Raises:
            StackError: it does not become healthy either, or its ports are not limited; copies and
                files are left.
        """
        new = json.loads(self.present())
        document = going_back(self.previous(), new, self.kept_secrets)
        if self.limited and (ports := not_limited_here(published_by(document))[0]):
            listed = ", ".join(f"{port}/{protocol}" for protocol, port in ports)
            raise StackError(
                f"it would publish {listed}, which the rules loaded on this host do not limit."
            )
        rendered = json.dumps(document, indent=2, sort_keys=True) + "\n"
        self.record.unlink(missing_ok=True)
        added: dict[str, list[Path]] = {}
        for name, copy in sorted(self.copies.items()):
            if copy.is_whole:
                self.stop(name)
                added[name] = copy.restore()
        self.apply(document, prune=True)
        states = self.wait(set(document["services"]), False)
        for name in sorted(added):
            self._carry_over(name, document, new, added[name])
        write({self.file: (rendered, 0o600)})
        self.finish(states, set(document["services"]))
        self.settle()
        return states

    def _carry_over(
        self, service: str, old: dict[str, Any], new: dict[str, Any], added: list[Path]
    ) -> None:
        """Give the old version what the new one took in, and say so in `notes` or `doubts`."""
        copy = self.copies[service]
        setting = {**copy.carry_over, "service": service}
        before, after = old["services"][service], new["services"][service]
        note = ""
        try:
            if setting.get("kind") == "orthanc":
                note = orthanc_objects(self.name, setting, copy.source, added)
            elif setting.get("kind") == "keydb":
                setting["mounted"] = next(
                    volume["target"]
                    for volume in after["volumes"]
                    # A tmpfs has no source.
                    if volume.get("source") == str(copy.source)
                )
                images = [after["image"], before["image"]]
                environment = after.get("environment", {})
                note = keydb_pairs(self.name, setting, images, environment, copy.failed)
        except (CarryOverError, CommandError, OSError, ValueError, StopIteration) as error:
            self.doubts.append(
                f"{service}: whether the new version had taken something in cannot be told "
                f"({error}). What it left is kept in {copy.set_aside()}: remove it once nothing is "
                "missed."
            )
        if note:
            self.notes.append(f"{service}: {note}.")

    def settle(self) -> None:
        """Remove what was kept for going back."""
        for copy in self.copies.values():
            copy.drop()
        self.before.unlink(missing_ok=True)


def prune_configs(stack: str, document: dict[str, Any]) -> None:
    """Remove the Swarm configs that no service uses any more."""
    superseded = sorted(
        present_configs(stack).keys() - resolved(document).get("configs", {}).keys()
    )
    if superseded:
        run(["docker", "config", "rm", *superseded])


def prune_networks(stack: str, document: dict[str, Any]) -> None:
    """Remove the networks that no service uses any more; one in use stays for a later run."""
    wished = {f"{stack}_{name}" for name in document.get("networks", {})}
    for name in of_stack(stack, "network")[0]:
        if name not in wished:
            with contextlib.suppress(CommandError):
                run(["docker", "network", "rm", name])


def went_back(stack: Stack, reason: str) -> str:
    """Go back, and return the whole text of a failed deployment."""
    new = json.loads(stack.present())
    previous = stack.previous()
    changed = changed_services(previous, new, stack.order) if previous else []
    if not changed:
        return reason
    with_data = [name for name, copy in sorted(stack.copies.items()) if copy.is_whole]
    try:
        states = stack.go_back()
    except (StackError, CommandError, DataCopyError, OSError) as error:
        places = ", ".join(str(stack.copies[name].path) for name in with_data)
        kept = f"The data as they were lie in {places}. " if places else ""
        return (
            f"{reason}\nGoing back to what ran before failed too: {error}\n{kept}Put the inventory "
            "back to what it was and run site.yml: it begins where this ended."
        )
    again = ", ".join(
        f"{name} ({states[name].image}{', its data as before' if name in with_data else ''})"
        for name in changed
        if name in states
    )
    removed = ", ".join(sorted(set(changed) - states.keys()))
    return "\n".join(
        [
            reason,
            f"What ran before runs again and is healthy: {again or 'all other services'}."
            + (f" Removed again: {removed}." if removed else ""),
            *stack.notes,
            *(
                stack.doubts
                or [
                    "What was acknowledged is there, as far as the failed version left it on the "
                    "disk."
                ]
            ),
            "Put the inventory back, or try another version.",
        ]
    )


def of_stack(stack: str, kind: str) -> tuple[list[str], list[str]]:
    """Return the names of the stack's objects of a kind, and of all others."""
    ours: list[str] = []
    others: list[str] = []
    for each in docker_objects(kind, []):
        spec = each.get("Spec", each)
        labels = spec.get("Labels") or {}
        mine = stack in (labels.get(LABEL_STACK), labels.get(LABEL_SECRET_STACK))
        (ours if mine else others).append(str(spec["Name"]))
    return sorted(ours), sorted(others)


def remove(
    stack: str, files: Iterable[Path], timeout: int, check_mode: bool
) -> tuple[list[str], list[str]]:
    """Remove the stack and these files.

    Returns:
        What was removed, and what else there is in this Swarm.

    Raises:
        StackError: its containers do not end.
        CommandError: the engine refuses.
    """
    removed: list[str] = []
    others: list[str] = []
    if manages_a_swarm():
        services, foreign = of_stack(stack, "service")
        others = [f"service {each}" for each in foreign]
        others += [f"secret {each}" for each in of_stack(stack, "secret")[1]]
        others += [f"config {each}" for each in of_stack(stack, "config")[1]]
        nodes = run(["docker", "node", "ls", "--quiet"]).split()
        others += [f"{len(nodes) - 1} other nodes"] if len(nodes) > 1 else []
        networks, configs = of_stack(stack, "network")[0], of_stack(stack, "config")[0]
        for kind, names in (("service", services), ("network", networks), ("config", configs)):
            removed += [f"{kind} {each}" for each in names]
        if not check_mode:
            _remove_from_engine(stack, services, networks, configs, timeout)
    for file in files:
        if file.exists():
            removed.append(str(file))
            if not check_mode:
                file.unlink()
    return removed, others


def _remove_from_engine(
    stack: str, services: list[str], networks: list[str], configs: list[str], timeout: int
) -> None:
    if services:
        run(["docker", "service", "rm", *services])
    # Each service ends in its own time; a network stays as long as one is attached.
    label = f"label={LABEL_STACK}={stack}"
    deadline = time.monotonic() + timeout
    while run(["docker", "ps", "--all", "--quiet", "--filter", label]).split():
        if time.monotonic() > deadline:
            raise StackError(
                f"Containers of {stack} have not ended within {timeout} s "
                f"(stack_timeout). See docker ps --filter {label}, then run this again."
            )
        time.sleep(POLL_INTERVAL)
    while networks:
        try:
            run(["docker", "network", "rm", *networks])
            break
        except CommandError:
            # Swarm lets go of it a moment after the last container.
            networks = of_stack(stack, "network")[0]
            if networks and time.monotonic() > deadline:
                raise
            time.sleep(POLL_INTERVAL)
    if configs:
        run(["docker", "config", "rm", *configs])
