"""A version that works goes through with a proof, while studies arrive, and only once."""

from __future__ import annotations

from collections.abc import Callable

from conftest import COPIES, containers, images
from shared.ctp_node import new_patient
from shared.documented import command
from shared.machines import Node, Scenario
from shared.streams import Rest, Stream, balance, ct_series

PACE = 0.3  # seconds from one object to the next


def test_all_three_services(
    scenario: Scenario,
    node: Node,
    orthanc: Rest,
    load: Callable[..., None],
    quarantined: Callable[[], set[str]],
    version_of: Callable[..., str],
) -> None:
    label = 'LABEL org.opencontainers.image.version="2027.1"'
    names = ("keydb", "orthanc", "ctp")
    extra = {f"{name}_image": version_of(name, "2027.1", label) for name in names}
    patient = new_patient()
    load(patient)
    with Stream(node, ct_series(patient.patient_id, 128), senders=4, pace=PACE) as stream:
        stream.wait(10)
        documented = command("docs/upgrade.md", "playbooks/upgrade.yml")
        outcome = scenario.play(*documented, extra=extra)
        assert outcome.returncode == 0, outcome.errors
        stream.finish()
    assert images(node) == {
        "auscat_ctp_export": extra["ctp_image"],
        "auscat_ctp_gate": extra["ctp_image"],
        **{f"auscat_{name}": extra[f"{name}_image"] for name in names},
    }
    assert "all" in outcome.text and "checks passed" in outcome.text
    result = balance(orthanc, patient.pseudonym, stream, quarantined)
    print(result, "refused or aborted", stream.refusals)
    assert result.arrived == result.acknowledged == len(stream.offered), result
    assert (result.doubled, result.quarantined, result.lost) == (0, 0, 0), result
    assert not node.host.file(COPIES).exists

    running = containers(node)
    again = scenario.play("playbooks/upgrade.yml", extra=extra)
    assert again.returncode == 0, again.errors
    assert again.changed_tasks == []
    assert containers(node) == running
