"""What an operator installs is whole, pinned and hashed, and has nothing of the tests."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
HASHED = (REPOSITORY / "requirements-hashed.txt").read_text()


def pins(text: str) -> list[Requirement]:
    """The requirements of a file, without comments and digests."""
    lines = re.sub(r"\\\n", " ", text).splitlines()
    plain = [re.sub(r"--hash=\S+", "", line).strip() for line in lines]
    return [Requirement(line) for line in plain if line and not line.startswith("#")]


def versions(text: str) -> dict[str, set[str]]:
    """Name to the versions that a file pins it to."""
    found: dict[str, set[str]] = {}
    for pin in pins(text):
        found.setdefault(canonicalize_name(pin.name), set()).add(str(pin.specifier))
    return found


def here(text: str) -> dict[str, Requirement]:
    """Those of a file that count for the Python that runs this."""
    return {
        canonicalize_name(pin.name): pin
        for pin in pins(text)
        if pin.marker is None or pin.marker.evaluate()
    }


def test_each_has_digests() -> None:
    entries = re.split(r"^(?=[A-Za-z])", HASHED, flags=re.MULTILINE)[1:]
    assert len(entries) == len(pins(HASHED)) > 10
    for entry in entries:
        assert re.findall(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_they_are_what_the_other_files_say() -> None:
    asked = versions((REPOSITORY / "requirements.txt").read_text())
    pinned = {**versions((REPOSITORY / "constraints.txt").read_text()), **asked}
    hashed = versions(HASHED)
    assert asked.keys() <= hashed.keys(), "make requirements-hashed.txt again: its head says how"
    assert hashed == {name: pinned.get(name) for name in hashed}


def test_they_are_all_that_is_needed() -> None:
    hashed = here(HASHED)
    found: set[str] = set()
    waiting = list(here((REPOSITORY / "requirements.txt").read_text()))
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        assert name in hashed, f"{name} is needed, and requirements-hashed.txt lacks it"
        try:
            assert hashed[name].specifier.contains(version(name))
            needed = requires(name) or []
        except PackageNotFoundError:
            pytest.fail(f"{name} is not in this environment: run tools/environment.sh")
        for each in map(Requirement, needed):
            if each.marker is None or each.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(each.name))
    assert set(hashed) == found


def test_nothing_of_the_tests_is_among_them() -> None:
    tested = versions((REPOSITORY / "requirements-test.txt").read_text())
    assert not tested.keys() & versions(HASHED).keys()
