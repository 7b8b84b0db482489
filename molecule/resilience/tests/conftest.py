"""The site of two machines, and the stream that goes through it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from pydicom.dataset import Dataset
from shared.ctp_node import Patient, load, new_patient, status
from shared.machines import Node, wait_for
from shared.streams import Balance, Rest, Stream, arrived, balance, ct_series
from shared.two_machines import cat, ctp, kv, orthanc

__all__ = ["cat", "ctp", "kv", "load", "orthanc"]

# Every so many objects one of a patient whom KeyDB does not know.
UNKNOWN_EVERY = 10
# And so often a larger one, which the gate keeps in a file while it is under way.
LARGE_EVERY, LARGE_SIDE = 15, 768
REASON = "unknown-patient"
PACE_SECONDS = 0.12
HEAL_SECONDS = 300


@dataclass(frozen=True)
class Site:
    """Both machines and what looks at them."""

    kv: Node
    cat: Node
    ctp: Rest
    orthanc: Rest
    services: dict[str, int]
    load: Callable[..., None]

    def wait_until_healthy(self) -> None:
        """Wait until nothing is wrong any more, by Docker's word and by the supervisor's."""
        for node in (self.kv, self.cat):
            node.wait_until_healthy(self.services[node.name], HEAL_SECONDS)
        wait_for("the supervisor is content", self.content, HEAL_SECONDS)

    def content(self) -> bool:
        """Whether CTP receives, is healthy and waits for nobody."""
        said = self.status()
        assert said is not None, "CTP's page does not answer"
        assert said["healthy"] and said["reception"] == "open" and not said["waiting_for"], said
        return True

    def status(self) -> dict | None:
        """What the supervisor says; nothing while it does not answer."""
        try:
            return status(self.ctp)
        except OSError:
            return None

    def waits_for(self, what: str) -> bool:
        """Whether the supervisor says that it waits for somebody."""
        said = self.status()
        return said is not None and what in said["waiting_for"]

    def reasons(self) -> list[tuple[str, str]]:
        """SOP Instance UID and reason of each in quarantine; a copy that broke off is no object."""
        listed = status(self.ctp)["quarantine"]
        return [
            (each["sop_instance_uid"], each["reason"])
            for each in listed
            if each["reason"] != "unreadable"
        ]

    def damaged(self, pseudonym: str) -> list[str]:
        """The patient's objects of which Orthanc has not, byte for byte, what it received."""
        query = {"Level": "Instance", "Query": {"PatientID": pseudonym}, "Limit": 100}
        bad = []
        for since in itertools.count(0, 100):
            found = self.orthanc.ask("/tools/find", {**query, "Since": since})
            for each in found:
                path = f"/instances/{each}/attachments/dicom/verify-md5"
                try:
                    self.orthanc.ask(path, {})
                except OSError as error:
                    bad.append(f"{each}: {error}")
            if len(found) < 100:
                break
        return bad

    def forget(self, pseudonym: str) -> None:
        """Remove a patient from Orthanc, whose disk is small."""
        found = self.orthanc.ask(
            "/tools/find", {"Level": "Patient", "Query": {"PatientID": pseudonym}}
        )
        for each in found:
            self.orthanc.ask(f"/patients/{each}", method="DELETE")


class Mixed(Stream):
    """Objects of a known patient without end, and among them some of an unknown one."""

    def __init__(self, site: Site, known: Patient) -> None:
        self.known = known

        def kind(number: int) -> str:
            if number % UNKNOWN_EVERY == 0:
                return "unknown"
            return "large" if number % LARGE_EVERY == 0 else "usual"

        def series(which: str, patient: Patient, side: int) -> Iterator[Dataset]:
            numbers = (number for number in itertools.count(1) if kind(number) == which)
            return ct_series(patient.patient_id, side, numbers)

        kinds = {
            "unknown": series("unknown", new_patient(), 64),
            "large": series("large", known, LARGE_SIDE),
            "usual": series("usual", known, 256),
        }
        mixed = (next(kinds[kind(number)]) for number in itertools.count(1))
        super().__init__(site.kv, mixed, senders=8, pace=PACE_SECONDS)
        self._site = site

    def wait_more(self, count: int, seconds: float = 120) -> None:
        """Wait until this many further objects are acknowledged."""
        self.wait(len(self.acknowledged) + count, seconds)

    def balance(self) -> Balance:
        """Wait until nothing is on its way any more, and count."""
        site = self._site

        def settled() -> bool:
            said = status(site.ctp)
            held = {uid for uid, reason in site.reasons() if reason != REASON}
            return said["queued"] == 0 and not held & set(self.offered)

        def quarantined() -> set[str]:
            return {uid for uid, _ in site.reasons()}

        return balance(
            site.orthanc, self.known.pseudonym, self, quarantined, seconds=200, settled=settled
        )

    def astray(self) -> list[str]:
        """Acknowledged objects that are not where objects of their patient belong."""
        there = arrived(self._site.orthanc, self.known.pseudonym)
        found = [
            f"{number}: of an unknown patient, in Orthanc"
            for number in there
            if number % UNKNOWN_EVERY == 0
        ]
        for uid, reason in self._site.reasons():
            number = self.offered.get(uid)
            if number is not None and (number % UNKNOWN_EVERY or reason != REASON):
                found.append(f"{number}: in quarantine, {reason}")
        return found

    def spare(self) -> int:
        """Further copies in quarantine of objects that were sent again for want of an answer."""
        count = Counter(uid for uid, _ in self._site.reasons() if uid in self.offered)
        return sum(count.values()) - len(count)


@pytest.fixture(scope="session")
def site(kv: Node, cat: Node, ctp: Rest, orthanc: Rest, load: Callable[..., None]) -> Site:
    """All of it, healthy."""
    services = {node.name: len(node.services()) for node in (kv, cat)}
    found = Site(kv, cat, ctp, orthanc, services, load)
    found.wait_until_healthy()
    return found


@pytest.fixture(scope="session")
def distribution(kv: Node) -> str:
    """What runs as CTP: "ctp" or "standin", by the word of the deployed one."""
    (task,) = kv.tasks("auscat_ctp")
    listed = kv.output("docker", "top", task["Id"], "-eo", "pid,args")
    return "standin" if "ctp_standin" in listed else "ctp"
