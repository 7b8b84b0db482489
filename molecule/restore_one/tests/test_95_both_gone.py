"""Both machines are torn down in one run, with the data of both. Last of all."""

from __future__ import annotations

from shared.documented import command
from shared.machines import Node, Scenario


def test_data_of_both_machines_goes_with_both_names(
    scenario: Scenario, kv: Node, cat: Node
) -> None:
    assert kv.services() and cat.services()
    both = {"kv01,cat01": "kv,cat"}
    outcome = scenario.play(*command("docs/teardown.md", "teardown_data=kv01,cat01", both))
    assert outcome.returncode == 0, outcome.errors
    for node in (kv, cat):
        assert f"Removed from {node.name}" in outcome.text
        assert node.services() == {}
        for path in ("keydb", "orthanc", "ctp"):
            assert node.run("test", "-e", f"/srv/auscat/{path}", check=False).returncode == 1, path
