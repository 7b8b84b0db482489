"""Whatever happens: nothing acknowledged is lost or doubled, and the site heals by itself.

A mixed stream runs from before the fault until the site is healthy again and a while longer; each
sender offers an object again until it is acknowledged, as a PACS does. LOSSLESS_ROUNDS repeats each
case; the rows of the table are sums over the rounds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
from conftest import Mixed, Site
from faults_here import CASES, Case
from shared.ctp_node import Patient, new_patient
from table import DOCUMENT, Row, write

ROUNDS = int(os.environ.get("LOSSLESS_ROUNDS", "1"))

ROWS: dict[str, list[Row]] = {}


@pytest.fixture(scope="session")
def patients(load: Callable[..., None]) -> dict[tuple[str, int], Patient]:
    """A patient for each case and round, all loaded at once."""
    made = {(case.name, n): new_patient() for case in CASES for n in range(1, ROUNDS + 1)}
    load(*made.values())
    return made


@pytest.mark.parametrize("attempt", range(1, ROUNDS + 1))
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_nothing_is_lost_or_doubled(
    case: Case,
    attempt: int,
    site: Site,
    patients: dict[tuple[str, int], Patient],
    record_property: Callable[[str, object], None],
) -> None:
    began = time.monotonic()
    patient = patients[case.name, attempt]
    with Mixed(site, patient) as stream:
        stream.wait_more(15)
        case.happens(site, stream)
        over = time.monotonic()
        site.wait_until_healthy()
        healed = time.monotonic() - over
        stream.wait_more(15)
        stream.finish()
        result = stream.balance()
    row = Row.of(case.title, stream, result, healed)
    ROWS.setdefault(case.name, []).append(row)
    spare, took = stream.spare(), time.monotonic() - began
    said = f"{case.name} {attempt}: {row}; spare copies in quarantine {spare}; {took:.0f} s"
    record_property("balance", said)
    print(said)
    assert (result.doubled, result.lost) == (0, 0), result
    assert stream.astray() == []
    assert site.damaged(patient.pseudonym) == []
    site.forget(patient.pseudonym)


def test_the_table_of_the_document_is_written(distribution: str) -> None:
    missing = [case.name for case in CASES if len(ROWS.get(case.name, [])) < ROUNDS]
    if missing:
        pytest.skip(f"Not all cases were run: {', '.join(missing)}")
    write(DOCUMENT, distribution, [Row.sum(ROWS[case.name]) for case in CASES], ROUNDS)
