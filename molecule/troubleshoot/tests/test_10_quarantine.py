"""The quarantine: listed without a name, released, exported, and purged only when asked."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from conftest import Send, empty_quarantine
from shared.ctp_node import Patient, new_patient, status
from shared.documented import command, script
from shared.machines import Node, Outcome, Scenario, wait_for
from shared.streams import Rest

QUARANTINE = "playbooks/quarantine.yml"


def shown(outcome: Outcome, task: str) -> str:
    """What a task showed to the operator."""
    return "\n".join(
        str(r.get("msg", "")) for name, r in outcome.results if name.endswith(f": {task}")
    )


def held(ctp: Rest) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = status(ctp)["quarantine"]
    return found


def hold(ctp: Rest, send: Send, *patients: Patient) -> None:
    """Send a study of each unknown patient, and wait until all are held back."""
    there = len(held(ctp))
    assert send(patients) == 0
    wait_for("all are held back", lambda: len(held(ctp)) == there + len(patients), 60)


def test_200_forgotten_patients_are_loaded_and_released_with_one_command(
    scenario: Scenario, node: Node, ctp: Rest, orthanc: Rest, send: Send, tmp_path: Path
) -> None:
    empty_quarantine(scenario, ctp)
    before = orthanc.ask("/statistics")["CountInstances"]
    patients = [new_patient() for _ in range(200)]
    hold(ctp, send, *patients)

    missing = tmp_path / "missing.csv"
    own = {"missing.csv": str(missing)}
    listed = scenario.play(*command("docs/quarantine.md", "quarantine_patients_file=", own))
    assert listed.returncode == 0, listed.errors
    text = shown(listed, "Show what lies in quarantine, and why")
    row = next(line for line in text.splitlines() if line.startswith("unknown-patient "))
    assert row.split()[1:4] == ["200", "200", "200"] and row.endswith("no"), text
    assert missing.stat().st_mode & 0o777 == 0o600
    wanted = {each.patient_id for each in patients}
    # Excel takes it for UTF-8 by its byte order mark.
    rows = csv.DictReader(missing.open(encoding="utf-8-sig"))
    assert {each["patient_id"] for each in rows} == wanted
    # Neither the screen nor Ansible's own record of the run names anybody.
    assert not [each for each in wanted if each in listed.text]

    outcome = scenario.play(*command("docs/quarantine.md", "playbooks/load_keys.yml", own))
    assert outcome.returncode == 0, outcome.errors
    assert "200 objects released; 0 left" in outcome.text
    wait_for("nothing is held back", lambda: not held(ctp), 60)

    pseudonyms = node.shell(
        'docker exec $(docker ps -qf name=auscat_keydb) sh -c "psql -qtA -d key_db'
        " -U \\$(cat /run/secrets/keydb_user) -c 'SELECT patient_id, pseudonym FROM patient'\""
    )
    pairs = dict(line.rsplit("|", 1) for line in pseudonyms.splitlines())
    assert wanted <= set(pairs)

    def all_there() -> bool:
        there = orthanc.ask("/patients?expand&since=0&limit=10000")
        known = {each["MainDicomTags"]["PatientID"] for each in there}
        mine = {pairs[each] for each in wanted}
        assert mine <= known, f"{len(mine & known)} of 200 have arrived"
        return True

    wait_for("each study is in Orthanc", all_there, 120)
    assert orthanc.ask("/statistics")["CountInstances"] == before + 200, "exactly once"


def test_objects_are_exported_to_root_alone(
    scenario: Scenario, node: Node, ctp: Rest, send: Send
) -> None:
    patients = [new_patient(), new_patient()]
    hold(ctp, send, *patients)
    listed = scenario.play(*command("docs/quarantine.md", "playbooks/quarantine.yml"))
    assert (listed.returncode, listed.changed) == (0, 0), listed.errors
    assert re.search(
        r"^unknown-patient +2 ",
        shown(listed, "Show what lies in quarantine, and why"),
        re.MULTILINE,
    )
    documented = command("docs/quarantine.md", "playbooks/quarantine.yml -e quarantine_export=true")
    trial = scenario.play(*documented, "--check")
    assert trial.returncode == 0, trial.errors
    copied = shown(trial, "Show what was exported")
    assert copied.startswith("Objects that would be copied to ") and copied.endswith(": 2"), copied
    assert node.shell("ls /srv/auscat/quarantine-export 2>/dev/null || true") == ""

    # Of the reasons that it names, nothing lies there.
    own = {"pixels-not-declared,burned-in-annotation": "pixels-not-declared,unknown-patient"}
    outcome = scenario.play(*command("docs/quarantine.md", "-e quarantine_reasons=", own))
    assert outcome.returncode == 0, outcome.errors
    assert not [each for each in patients if each.patient_id in outcome.text]
    (directory,) = node.output("find", "/srv/auscat/quarantine-export", "-mindepth", "1",
                               "-maxdepth", "1").split()  # fmt: skip
    assert directory in outcome.text
    modes = node.output("find", "/srv/auscat/quarantine-export", "-printf", "%U %m %y\n")
    assert set(modes.splitlines()) == {"0 700 d", "0 600 f"}
    manifest = list(csv.DictReader(io.StringIO(node.output("cat", f"{directory}/manifest.csv"))))
    assert {each["patient_id"] for each in manifest} == {each.patient_id for each in patients}
    for each in manifest:
        found = node.run("dcmdump", "+P", "PatientID", f"{directory}/{each['file']}").stdout
        assert each["patient_id"] in found
    # What the page does there with one of them, as root.
    enter = script("docs/quarantine.md", "cd /srv/auscat", {"<time>": Path(directory).name})
    dump = script("docs/quarantine.md", "dcmdump +P SOPClassUID")
    assert "CTImageStorage" in node.shell(f"{enter}; {dump}")
    convert = script("docs/quarantine.md", "dcmj2pnm +Fa")
    assert node.shell(f"{enter}; {convert} >&2; ls 000001.0.png; rm 000001.0.png")
    assert len(held(ctp)) == 2, "an export takes nothing away"


def test_purge_removes_the_old_alone_and_only_when_asked(
    scenario: Scenario, node: Node, ctp: Rest, send: Send
) -> None:
    """Two objects lie there already; they are old by the time that this test's own come."""
    old = {each["id"] for each in held(ctp)}
    assert len(old) == 2
    wait_for("they are older than a run takes", lambda: youngest_age(ctp, old) > 40, 60)
    before = time.time()
    young = new_patient()
    hold(ctp, send, young)
    deleted = status(ctp)["deleted"]

    refused = scenario.play(QUARANTINE, extra={"purge_older_than_days": 0.0001})
    assert refused.returncode != 0
    assert "purge_confirm is not set. Accepted:" in refused.errors
    other = {"purge_older_than_days": 0.0001, "purge_confirm": "another"}
    assert scenario.play(QUARANTINE, extra=other).returncode != 0
    odd = {"purge_older_than_days": "-1", "purge_confirm": "node"}
    assert "purge_older_than_days is -1" in scenario.play(QUARANTINE, extra=odd).errors
    assert len(held(ctp)) == 3, "nothing is removed by a refused command"

    def asked(*arguments: str) -> Outcome:
        # Between the two: a run reaches the purge less than 30 s after it is started.
        days = (time.time() - before + 30) / 86400
        extra = {"purge_confirm": "node", "purge_older_than_days": days}
        return scenario.play(QUARANTINE, *arguments, extra=extra)

    trial = asked("--check")
    assert trial.returncode == 0, trial.errors
    text = shown(trial, "Show what was removed")
    assert "to be removed: 2 objects" in text and "younger or of another reason 1" in text, text
    assert len(held(ctp)) == 3

    done = asked()
    assert done.returncode == 0, done.errors
    assert "removed for good: 2 objects" in shown(done, "Show what was removed")
    left = {each["id"] for each in held(ctp)}
    assert len(left) == 1 and not left & old
    assert status(ctp)["deleted"] == deleted + 2, "CTP counts what was removed"
    record = node.output("cat", "/var/lib/auscat/quarantine-purges.jsonl").splitlines()
    assert json.loads(record[-1])["reasons"] == {"unknown-patient": 2}
    assert node.output("stat", "-c", "%a", "/var/lib/auscat/quarantine-purges.jsonl") == "600"

    again = asked()
    assert again.returncode == 0 and again.changed == 0
    assert {each["id"] for each in held(ctp)} == left


def youngest_age(ctp: Rest, ids: set[str]) -> float:
    """Seconds since the youngest of these objects came."""
    came = [datetime.fromisoformat(e["received_at"]) for e in held(ctp) if e["id"] in ids]
    return time.time() - max(each.timestamp() for each in came)
