"""Senders that misbehave beside a stream of studies: the others do not notice.

Times are not judged, but the order: what the others send is through while the rude ones are still
there. The rude ones come from the same address as the stream, which is the harder case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE
from shared.ctp_node import Patient, new_patient, status
from shared.machines import Node, wait_for
from shared.rude import HALF, Rude, request, stuck
from shared.streams import Rest, Stream, balance, ct_slices

OBJECTS = 60
LIMIT_MIB = 256
"""Memory limit of ctp_gate (roles/ctp/vars/main.yml)."""


def tasks(node: Node) -> list[str]:
    return [each["Id"] for each in node.tasks("auscat_ctp_gate")]


def peak_mib(node: Node) -> float:
    """The highest resident memory of the gate's program so far."""
    (task,) = tasks(node)
    text = node.output(
        "docker", "exec", task, "sh", "-c",
        "grep -h VmHWM /proc/[0-9]*/status | sort -k2 -n | tail -1",
    )  # fmt: skip
    return int(text.split()[1]) / 1024


@contextmanager
def half_requests(node: Node) -> Iterator[Callable[[], bool]]:
    """800 connections with 240 kB each of an A-ASSOCIATE-RQ that does not end."""
    with ExitStack() as stack:
        held = []
        for _ in range(800):
            held.append(stack.enter_context(Rude(8104, "", host=node.address)))
            try:
                held[-1].send(HALF + bytes(240_000))
            except OSError:
                continue  # cut off already
        yield lambda: any(not each.has_ended() for each in held)


@contextmanager
def stuck_sender(node: Node) -> Iterator[Callable[[], bool]]:
    with stuck(8104, "", node.address, calling=b"PACS"):
        yield lambda: True


@contextmanager
def blank_titles(node: Node) -> Iterator[Callable[[], bool]]:
    for calling in (b"", b" " * 16, bytes(16), b"\xe4\xf6\xfc"):
        with Rude(8104, "", host=node.address) as rude:
            assert rude.send(request(calling=calling)).rejection() == (1, 1, 3)
    yield lambda: True


@pytest.mark.parametrize("rude", [half_requests, stuck_sender, blank_titles])
def test_the_others_do_not_notice(
    rude: Callable[[Node], Iterator[Callable[[], bool]]],
    node: Node,
    orthanc: Rest,
    load: Callable[..., None],
    quarantined: Callable[[], set[str]],
) -> None:
    patient = new_patient()
    load(patient)
    before = tasks(node)
    with Stream(node, ct_slices(patient.patient_id, OBJECTS)) as stream:
        stream.wait(5)
        with rude(node):  # type: ignore[attr-defined]
            stream.wait(OBJECTS)
    result = balance(orthanc, patient.pseudonym, stream, quarantined)
    assert (result.acknowledged, result.arrived) == (OBJECTS, OBJECTS), result
    assert (result.doubled, result.quarantined, result.lost) == (0, 0, 0), result
    assert tasks(node) == before, "the gate was not ended"
    assert peak_mib(node) < LIMIT_MIB / 2


def test_a_stuck_sender_does_not_keep_the_gate_from_ending(node: Node) -> None:
    (before,) = tasks(node)
    with stuck(8104, "", node.address, calling=b"PACS"):
        node.run("docker", "service", "update", "--force", "--detach", "auscat_ctp_gate")
        # Its stop_seconds are 30, and Swarm kills after 45.
        wait_for("another gate serves", lambda: tasks(node) not in ([], [before]), 120)
    node.wait_until_healthy(6)
    code = node.output("docker", "inspect", "--format", "{{.State.ExitCode}}", before, check=False)
    assert code.strip() in ("0", ""), "it ended by itself and was not killed"


def test_another_issuer_is_held_back_and_released_when_keydb_knows_it(
    node: Node, ctp: Rest, load: Callable[..., None]
) -> None:
    enrolled = new_patient()
    load(enrolled)
    other = Patient(enrolled.patient_id, new_patient().pseudonym, "HOSP-B")
    slices = ct_slices(enrolled.patient_id, 2, side=16)
    for each in slices:
        each.IssuerOfPatientID = other.issuer
    mine = {str(each.SOPInstanceUID) for each in slices}

    def reasons() -> list[str]:
        held = status(ctp)["quarantine"]
        return [each["reason"] for each in held if each["sop_instance_uid"] in mine]

    with Stream(node, slices, senders=1) as stream:
        stream.wait(2)
    wait_for("they are held back", lambda: reasons() == ["other-issuer"] * 2)
    assert ctp.ask("/api/quarantine/release", {})["left"]["other-issuer"] >= 2
    assert reasons() == ["other-issuer"] * 2
    load(other)
    wait_for("KeyDB knows them", lambda: reasons() == ["known-patient"] * 2)
    ctp.ask("/api/quarantine/release", {})
    wait_for("they are gone", lambda: reasons() == [])


def test_too_large_an_object(node: Node) -> None:
    """Told by its status, and the association goes on."""
    largest = int(node.variables.get("auscat_largest_object_mib", 1024))
    dataset = ct_slices("NOBODY", 1)[0]
    dataset.PixelData = bytes((largest + 1) << 20)
    ae = AE("PACS")
    ae.dimse_timeout = ae.network_timeout = 300
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    sender = ae.associate(node.address, 8104, ae_title="CTP")
    assert sender.is_established
    answer: Dataset = sender.send_c_store(dataset)
    sender.release()
    assert answer.Status == 0xA700
    large = ["find", "/srv/auscat/ctp/temp", "-size", "+32M"]
    wait_for("nothing of it is kept", lambda: not node.output(*large), 60)
