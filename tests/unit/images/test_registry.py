"""Why a pull failed, and what is tried again. The real pulls are in molecule/airgap."""

from __future__ import annotations

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError
from ansible_collections.auscat.imaging.plugins.module_utils.images import registry

# As the engine puts it.
SAID = {
    "unreachable": [
        "Error response from daemon: Get https://10.9.9.9:5000/v2/: dial tcp 10.9.9.9:5000: "
        "connect: no route to host",
        "Error response from daemon: Get https://r.example/v2/: dial tcp: lookup r.example on "
        "127.0.0.11:53: server misbehaving",
        "Error response from daemon: Get https://r.example/v2/: net/http: request canceled while "
        "waiting for connection (Client.Timeout exceeded while awaiting headers)",
        "Error response from daemon: Get https://r.example/v2/: proxyconnect tcp: dial tcp "
        "10.0.0.1:3128: connect: connection refused",
        "Error response from daemon: Get https://r.example/v2/: EOF",
    ],
    "certificate": [
        "Error response from daemon: Get https://10.9.9.9:5000/v2/: x509: certificate signed by "
        "unknown authority",
        "Error response from daemon: Get https://r/v2/: http: server gave HTTP response to HTTPS "
        "client",
    ],
    "login": [
        "Error response from daemon: Get https://r/v2/a/manifests/b: no basic auth credentials",
        "Error response from daemon: login attempt to https://r/v2/ failed with status: 401 "
        "Unauthorized",
        "Error response from daemon: pull access denied for auscat/orthanc, repository does not "
        "exist or may require 'docker login': denied: requested access to the resource is denied",
    ],
    "missing": [
        "Error response from daemon: manifest for r/a@sha256:12 not found: manifest unknown: "
        "manifest unknown"
    ],
    "busy": [
        "Error response from daemon: toomanyrequests: You have reached your pull rate limit.",
        "Error response from daemon: received unexpected HTTP status: 503 Service Unavailable",
    ],
    "disk": ["failed to register layer: write /usr/lib/x: no space left on device"],
    "other": ["something new"],
}


@pytest.mark.parametrize(
    ("expected", "words"), [(cause, words) for cause, all_ in SAID.items() for words in all_]
)
def test_causes(expected: str, words: str) -> None:
    assert registry.cause(words) == expected


def test_unreachable_registry_names_the_other_two_ways() -> None:
    text = registry.explanation("The pull of a", "r.example", "cv01", SAID["unreachable"][0])
    assert text.startswith("The pull of a failed: ")
    for part in ("r.example cannot be reached from cv01", "images_source: archive", "build"):
        assert part in text


class Pull:
    """Something that fails in the given ways, one a call, and then succeeds."""

    def __init__(self, *words: str) -> None:
        self.words = list(words)
        self.calls = 0
        self.waits: list[float] = []

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= len(self.words):
            raise CommandError(self.words[self.calls - 1])
        return ""

    def attempt(self, retries: int) -> None:
        registry.attempt(self, ("The pull of a", "r", "host"), (retries, 5, self.waits.append))


def test_passing_causes_are_tried_again_ever_later() -> None:
    pull = Pull(SAID["unreachable"][0], SAID["busy"][0])
    pull.attempt(3)
    assert (pull.calls, pull.waits) == (3, [5, 10])


@pytest.mark.parametrize("cause", ["login", "missing", "certificate", "disk", "other"])
def test_other_causes_are_not(cause: str) -> None:
    pull = Pull(SAID[cause][0])
    with pytest.raises(registry.RegistryError):
        pull.attempt(3)
    assert (pull.calls, pull.waits) == (1, [])


def test_attempts_end() -> None:
    pull = Pull(*SAID["unreachable"][:1] * 9)
    with pytest.raises(registry.RegistryError, match=r"\(3 attempts\)"):
        pull.attempt(2)
    assert pull.waits == [5, 10]
