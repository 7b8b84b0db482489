"""A machine's own clock is wrong, and the first line of the diagnosis names it."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import VirtualMachine
from shared.diagnoses import missing_of, record, tried
from shared.known_faults import Fault, Site, of
from shared.machines import Scenario

HERE = "vm"
FIRST: dict[str, str] = {}


@pytest.mark.parametrize("fault", of(HERE), ids=lambda fault: str(fault.name))
def test_the_first_line_names_the_fault(
    fault: Fault, scenario: Scenario, node: VirtualMachine, tmp_path: Path
) -> None:
    """By ``playbooks/troubleshoot.yml``, over SSH."""
    FIRST[fault.name] = tried(fault, Site(scenario, node, tmp_path))


def test_what_was_said_is_recorded() -> None:
    missing = missing_of(HERE, FIRST)
    if missing:
        pytest.skip(f"Not all faults were tried: {', '.join(missing)}")
    record(HERE, FIRST)
