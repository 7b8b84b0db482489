"""Every published port from every machine, over IPv4 and IPv6: allowed and refused as declared."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from conftest import ALLOWED, ATTEMPTS, FAMILIES, MACHINES, Attempt, Site, ephemeral_directory
from shared.machines import wait_for


def all_connect(site: Site, attempts: list[Attempt]) -> bool:
    return all(site.attempt(attempts).values())


@pytest.fixture(scope="module", autouse=True)
def listeners(site: Site) -> Iterator[None]:
    """Something on port 22 of both machines: proof that every machine reaches every other."""
    program = (
        "import socket\n"
        "s = socket.create_server(('', 22), family=socket.AF_INET6, dualstack_ipv6=True)\n"
        "while 1: s.accept()[0].close()"
    )
    for name in ("kv", "cat"):
        command = ("systemd-run", "--unit=auscat-test-22", "--collect", "python3", "-c", program)
        site.machine(name).run(*command)
    for name in ("kv", "cat"):
        # The machine itself may always connect, so this says only that the program has started.
        itself = [Attempt(name, 22, family, name) for family in FAMILIES]
        wait_for(f"{name} listens on port 22", partial(all_connect, site, itself), seconds=30)
    yield
    for name in ("kv", "cat"):
        site.machine(name).run("systemctl", "stop", "auscat-test-22", check=False)


@pytest.fixture(scope="module")
def found(site: Site, listeners: None) -> dict[Attempt, bool]:
    """What every attempt gave, written down as a table too."""
    results = site.attempt(ATTEMPTS)
    cells = {True: "open", False: "-"}
    lines = [
        "| to | port | over | " + " | ".join(f"from {name}" for name in MACHINES) + " |",
        "| --- | --- | --- |" + " --- |" * len(MACHINES),
    ]
    for target, port in ALLOWED:
        for family in FAMILIES:
            row = [Attempt(target, port, family, source) for source in MACHINES]
            marks = [
                cells[results[each]] + ("" if results[each] is each.expected else " (!)")
                for each in row
            ]
            lines.append(f"| {target} | {port} | {family} | " + " | ".join(marks) + " |")
    (ephemeral_directory() / "port-matrix.md").write_text("\n".join(lines) + "\n")
    return results


@pytest.mark.parametrize(
    "attempt",
    ATTEMPTS,
    ids=lambda each: f"{each.source}-{each.target}-{each.port}-{each.family}",
)
def test_port(found: dict[Attempt, bool], attempt: Attempt) -> None:
    assert found[attempt] is attempt.expected
