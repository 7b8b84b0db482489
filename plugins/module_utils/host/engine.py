"""The Docker engine of this machine, asked through Docker's own Python library.

For what asks many questions in one process, such as who waits until a stack is healthy. Starting
the docker command takes some 40 ms and importing the library 450 (Debian 12, two cores), so what
asks less than ten times keeps the command (`command.run`), as does what the library cannot do
(``stack deploy``). The library is Debian's python3-docker: 5.0.3 in Debian 12, 7.1.0 in Debian 13.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ansible_collections.auscat.imaging.plugins.module_utils.host.command import (
    CommandError,
    plain,
)

ANSWER_SECONDS = 60

Answer = TypeVar("Answer")


class Engine:
    """One connection to the engine.

    Raises:
        CommandError: the library is missing, or the engine does not answer.
    """

    def __init__(self) -> None:
        # Here, since whoever only imports this module has no use for half a second of importing.
        try:
            import docker
        except ImportError as error:
            raise CommandError(
                f"Docker's Python library is missing on this host ({error}). Install "
                "python3-docker (variable docker_engine_packages)."
            ) from error
        # The library of Debian 12 would take its own version of the API for the engine's.
        self._api = _asked(lambda: docker.from_env(version="auto", timeout=ANSWER_SECONDS)).api

    def services(self, label: str) -> list[dict[str, Any]]:
        """Return the Swarm services with a label (``name=value``), as the engine describes them.

        Raises:
            CommandError: the engine does not answer, or manages no Swarm.
        """
        return list(_asked(lambda: self._api.services(filters={"label": label})))

    def containers(self, label: str) -> list[dict[str, Any]]:
        """Return the running containers with a label, as ``docker container inspect`` tells them.

        What was removed between the list and the look at it is left out.

        Raises:
            CommandError: the engine does not answer.
        """
        found = _asked(lambda: self._api.containers(filters={"label": label}))
        return self._there(self._api.inspect_container, [each["Id"] for each in found])

    def tasks(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the tasks of these ids, by id, without those that were removed meanwhile.

        Raises:
            CommandError: the engine does not answer.
        """
        return {task["ID"]: task for task in self._there(self._api.inspect_task, ids)}

    def tasks_of(self, service: str) -> list[dict[str, Any]]:
        """Return the tasks that a service has or had, as far as Swarm remembers; none without it.

        Raises:
            CommandError: the engine does not answer.
        """
        try:
            found = _asked(lambda: self._api.tasks(filters={"service": service}))
        except _GoneError:
            return []
        return list(found)

    @staticmethod
    def _there(look: Callable[[str], dict[str, Any]], names: Iterable[str]) -> list[dict[str, Any]]:
        found = []
        for name in names:
            try:
                found.append(_asked(lambda name=name: look(name)))  # type: ignore[misc]
            except _GoneError:
                continue
        return found


class _GoneError(CommandError):
    """What was asked about is not there."""


def _asked(question: Callable[[], Answer]) -> Answer:
    from docker.errors import DockerException, NotFound
    from requests.exceptions import RequestException

    try:
        return question()
    except NotFound as error:
        raise _GoneError(f"The Docker engine says: {error.explanation or error}") from error
    except DockerException as error:
        words = getattr(error, "explanation", None) or error
        raise CommandError(f"The Docker engine says: {plain(str(words))}") from error
    except (RequestException, OSError) as error:
        raise CommandError(f"The Docker engine did not answer: {error}") from error
