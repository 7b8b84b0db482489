"""Each role against each route that Orthanc has. molecule/clients asks a real Orthanc the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from orthanc_guard.roles import ADMIN, CURATOR, MAY, READER, ROLES, expression, may

ID = "2445444f-3a3fbb26-0347ac5d-16d984d8-0cfa94d7"
UID = "1.2.826.0.1.3680043.8.498.49816191004640562164620981891259616759"


def routes() -> list[tuple[str, str, str]]:
    """Least role, method and path of each route."""
    lines = (Path(__file__).parent / "routes.txt").read_text(encoding="utf-8").splitlines()
    found = []
    for line in lines:
        if not line.startswith("#"):
            role, method, path = line.split()
            found.append((role, method, path))
    return found


def example(path: str) -> str:
    """A path as somebody would ask for it."""
    identifier = UID if path.startswith("/dicom-web/studies") else ID
    words = {"{id}": identifier, "{path}": "a/b.js", "{name}": "tag", "{label}": "tag"}
    words |= {"{frame}": "0", "{index}": "0", "{key}": "results"}
    for word, value in words.items():
        path = path.replace(word, value)
    assert "{" not in path
    return path


@pytest.mark.parametrize(("least", "method", "path"), routes())
def test_route(least: str, method: str, path: str) -> None:
    allowed = {role for role in ROLES if may(role, method, example(path))}
    assert allowed == set(ROLES[ROLES.index(least) :])


@pytest.mark.parametrize(
    ("role", "method", "template"),
    [
        (role, method, template)
        for role, methods in MAY.items()
        for method, templates in methods.items()
        for template in templates
    ],
)
def test_nothing_is_listed_that_orthanc_does_not_have(
    role: str, method: str, template: str
) -> None:
    """What no route needs is a hole for the next version."""
    asked = {example(path) for _, each, path in routes() if each == method}
    asked.add(f"/jobs/{ID}/archive")  # of /jobs/{id}/{key}
    assert any(expression(template).fullmatch(path) for path in asked)


@pytest.mark.parametrize("role", ["", "Reader", "READER", "nobody", "admin "])
def test_what_is_no_role_may_nothing(role: str) -> None:
    assert not may(role, "GET", "/system")


@pytest.mark.parametrize(
    "path",
    [
        *("", "system", "//system", "/system/x", "/SYSTEM", "/system?x", "/system;x", "/system\n"),
        *("/app/../tools/reset", "/app/./x", "/app/a\0b", "/app", "/app/", "/studies//x"),
        *(f"/studies/{ID}/../../tools/reset", f"/studies/{ID}%2Farchive", f"/studies/{ID}/x"),
        *("/tools/execute-script", "/tools/find/x", "/tools/metrics", "/tools/metrics-prometheus"),
        *("/jobs", f"/jobs/{ID}/dicom", "/peers", "/modalities", "/queries", "/exports", "/webdav"),
        *("/dicom-web/servers", f"/dicom-web/studies/{UID}/series/../../../servers"),
    ],
)
def test_a_reader_may_not_see(path: str) -> None:
    assert not may(READER, "GET", path)
    assert not may(CURATOR, "GET", path)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "get", ""])
def test_a_reader_changes_nothing(method: str) -> None:
    for _, _, path in routes():
        assert not may(READER, method, example(path))


def test_slashes_at_the_end_change_nothing() -> None:
    """Orthanc answers /system/ as /system."""
    assert may(READER, "GET", "/system/")
    assert may(READER, "GET", "/")
    assert not may(READER, "POST", "/tools/reset/")


def test_the_roles_build_on_each_other() -> None:
    assert ROLES == (READER, CURATOR, ADMIN)
    assert may(ADMIN, "POST", "/tools/reset")
