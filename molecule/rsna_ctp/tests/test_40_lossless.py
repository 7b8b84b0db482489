"""What was acknowledged is neither lost nor doubled, whatever happens to CTP meanwhile.

200 objects of half a MB from 16 senders, and in the midst of it something happens. Each case is
repeated LOSSLESS_ROUNDS times (default: once). What ends CTP alone no sender may notice: they wait.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from shared import faults
from shared.ctp_node import Patient
from shared.machines import Node
from shared.streams import Rest, Stream, balance, ct_slices

OBJECTS = 200
ROUNDS = int(os.environ.get("LOSSLESS_ROUNDS", "1"))


def service_update(node: Node) -> None:
    node.run("docker", "service", "update", "--force", "--detach", "auscat_ctp")


def docker_stop(node: Node) -> None:
    node.run("docker", "stop", "--time", "90", faults.container(node, "auscat_ctp"))


def kill_engine(node: Node) -> None:
    assert faults.kill_process(node, "auscat_ctp", faults.ENGINE)


def kill_container(node: Node) -> None:
    faults.kill_container(node, "auscat_ctp")


def disk_full(node: Node) -> None:
    """Another program writes until nothing is left, and is found a while later."""
    with faults.full(node, "/srv/auscat/ctp/temp"):
        node.run("sleep", "5")


EVENTS: list[Callable[[Node], None]] = [
    service_update,
    docker_stop,
    kill_engine,
    kill_container,
    faults.reboot,
    disk_full,
]
NOTICED = [faults.reboot, disk_full]


@pytest.mark.parametrize("attempt", range(1, ROUNDS + 1))
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: str(event.__name__))
def test_nothing_is_lost_or_doubled(
    event: Callable[[Node], None],
    attempt: int,
    node: Node,
    orthanc: Rest,
    known_patient: Callable[[], Patient],
    quarantined: Callable[[], set[str]],
    record_property: Callable[[str, object], None],
) -> None:
    patient = known_patient()
    # Where senders wait they are more patient than the gate (ctp_hold_seconds).
    patience = 60 if event in NOTICED else 150
    with Stream(node, ct_slices(patient.patient_id, OBJECTS), patience=patience) as stream:
        stream.wait(OBJECTS // 4)
        event(node)
        stream.wait(OBJECTS, 300)
    node.wait_until_healthy(6)
    result = balance(orthanc, patient.pseudonym, stream, quarantined)
    record_property("balance", f"{event.__name__} {attempt}: {result}; refused {stream.refusals}")
    print(f"{event.__name__} {attempt}: {result}; refused or aborted {stream.refusals}")
    assert (result.acknowledged, result.arrived) == (OBJECTS, OBJECTS), result
    assert (result.doubled, result.quarantined, result.lost) == (0, 0, 0), result
    assert event in NOTICED or stream.refusals == 0
