"""There is no account of studies around an image whose inside is not ours, and all say so."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from shared.machines import Node, Outcome, Scenario, wait_for
from shared.streams import Stream, ct_slices


@pytest.fixture
def play(scenario: Scenario, node: Node) -> Callable[..., Outcome]:
    """Run a playbook of the role of CTP alone, which does not know the names of our images."""
    (task,) = node.tasks("auscat_ctp")

    def run(playbook: str, **extra: Any) -> Outcome:
        return scenario.play(playbook, extra={"ctp_image": task["Config"]["Image"], **extra})

    return run


def shown(outcome: Outcome) -> str:
    """What the tasks showed to the operator."""
    assert outcome.returncode == 0, outcome.errors
    return "\n".join(str(result.get("msg", "")) for _, result in outcome.results)


@pytest.mark.parametrize(
    ("playbook", "what"),
    [
        ("playbooks/study.yml", "whether a study is complete"),
        ("playbooks/roi_names.yml", "which name of a structure became which"),
    ],
)
def test_the_command_says_what_cannot_be_told(
    play: Callable[..., Outcome], playbook: str, what: str
) -> None:
    outcome = play(playbook, study_pseudonym="ANON-1")
    assert outcome.returncode != 0
    assert "ctp_flavour is auscat. Accepted: rsna" in outcome.errors
    assert f"Here nobody can know {what}: the AusCAT image does not say" in outcome.errors
    assert "Nothing was looked up." in outcome.errors


def test_the_status_says_that_it_does_not_know(play: Callable[..., Outcome]) -> None:
    table = shown(play("playbooks/status.yml"))
    row = r"studies +unknown +this CTP reports nothing about single studies"
    assert re.search(row, table), table


def test_what_is_held_back_is_counted_without_reasons(
    play: Callable[..., Outcome], node: Node, quarantined: Callable[[], set[str]]
) -> None:
    patient = f"HOSP-{uuid.uuid4().hex[:10]}"

    def counted() -> list[int]:
        """Objects, studies and patients, over all directories."""
        listed = shown(play("playbooks/quarantine.yml"))
        assert patient not in listed
        rows = re.findall(r"^not-told +(\d+) +(\d+) +(\d+) ", listed, re.MULTILINE)
        return [sum(map(int, column)) for column in zip(*rows, strict=True)] or [0, 0, 0]

    before = counted()  # the proof leaves some
    images = ct_slices(patient, 2)
    with Stream(node, images, senders=1) as stream:
        stream.wait(len(images))
    sent = {str(image.SOPInstanceUID) for image in images}
    wait_for("they are held back", lambda: sent <= quarantined())
    assert counted() == [known + more for known, more in zip(before, (2, 1, 1), strict=True)]
