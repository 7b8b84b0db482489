"""Two machines whose names have no address on the controller: what can be told is told."""

from __future__ import annotations

import re
from pathlib import Path

from shared.machines import Scenario


def test_troubleshoot_tells_what_it_can(scenario: Scenario, tmp_path: Path) -> None:
    outcome = scenario.play(
        "playbooks/troubleshoot.yml",
        extra={
            "auscat_address": "nowhere.invalid",
            "troubleshoot_phantom": False,
            "troubleshoot_bundle_directory": str(tmp_path),
        },
    )
    # 2: something is wrong, the names among it.
    assert (outcome.returncode, outcome.changed) == (2, 0), outcome.errors
    (text,) = [r["msg"] for name, r in outcome.results if name.endswith(": Show the diagnosis")]
    for host in ("kv", "cat"):
        assert re.search(
            rf"The host {host} of the inventory has the address .nowhere.invalid. .auscat_address.",
            text,
        ), text
        assert re.search(rf"^ok +{host} +The machine can be reached", text, re.MULTILINE), text
        # Looked at; Orthanc was killed for its memory by the alerts before, which is said of it.
        assert re.search(rf"^(ok|failed) +{host} +The services run", text, re.MULTILINE), text
    # Orthanc's configuration holds CTP's addresses: nobody knows here which it should have.
    assert re.search(
        r"^could not be checked +cat +The services have the secrets .*no address here$",
        text,
        re.MULTILINE,
    ), text
    # Certificates are for the address that this inventory names: they alone are others.
    row = r"^failed +kv +The services have the secrets of the inventory +(.*)$"
    (other,) = (each.strip() for each in re.findall(row, text, re.MULTILINE))
    certificate = r".*(_tls|front)_(cert|certificate|key)"
    assert all(re.fullmatch(certificate, each) for each in other.split(", ")), other
