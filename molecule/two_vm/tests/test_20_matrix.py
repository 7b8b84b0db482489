"""Every published port from every machine, over IPv4 and IPv6: allowed and refused as declared."""

from __future__ import annotations

import pytest
from conftest import ALLOWED, ATTEMPTS, FAMILIES, MACHINES, Attempt, Site, ephemeral_directory


@pytest.fixture(scope="module")
def found(site: Site) -> dict[Attempt, bool]:
    """What every attempt gave, written down as a table too."""
    results = site.attempt(ATTEMPTS, patient=True)
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
