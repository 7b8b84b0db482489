"""A version that does not work: what ran before runs again, with its data, and nothing is lost."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

from conftest import COPIES, fails, images, script
from shared.ctp_node import Patient, new_patient
from shared.machines import Machine, Node, Scenario, wait_for
from shared.saved import pairs, verified
from shared.streams import Rest, Stream, balance, ct_series, ct_slices

HALF = "00/00/00000000-0000-4000-8000-000000000000"  # as Orthanc names a file
PACE = 0.3  # seconds from one object to the next


def attachments(orthanc: Rest) -> int:
    """How many files Orthanc knows: one for each object, and what DICOMweb keeps of a series.

    The latter are made some time after the last object of a series, on Orthanc's own.
    """
    return sum(
        len(orthanc.ask(f"/{level}/{each}/attachments"))
        for level in ("patients", "studies", "series", "instances")
        for each in orthanc.ask(f"/{level}")
    )


def test_orthanc_that_damages_its_data(
    scenario: Scenario,
    node: Node,
    orthanc: Rest,
    load: Callable[..., None],
    quarantined: Callable[[], set[str]],
    version_of: Callable[..., str],
) -> None:
    """It becomes healthy, takes in objects, then overwrites the index, deletes files, and ends."""
    broken = version_of(
        "orthanc", "broken", "USER root",
        script(
            "/usr/local/bin/broken.sh",
            "echo 'W000 bringing the database to version 99'",
            "end() { echo 'E000 the database could not be brought to version 99' >&2; exit 1; }",
            "cd /var/lib/orthanc/db",
            # Started again, it goes no further: its "! -newer" below would delete what the first
            # start had taken in, acknowledged objects that only this version ever had.
            "case $(head -c 10 index) in 'version 99') end;; esac",
            "sh /usr/local/bin/entrypoint.sh & program=$!",
            "stored() { find ??/?? -type f -newer /run/orthanc/image.json | wc -l; }",
            "while kill -0 $program && [ $(stored) -lt 3 ]; do sleep 0.2; done; kill -9 $program",
            # As a power cut leaves a file: the first piece of an object.
            f"set -- $(find ??/?? -type f -newer /run/orthanc/image.json); mkdir -p {HALF[:5]}",
            f"head -c 700 $1 >{HALF}",
            "echo 'version 99' | dd of=index conv=notrunc 2>/dev/null",
            "rm -f index-wal",
            "find [0-7]? -type f ! -newer /run/orthanc/image.json -delete; end",
        ),
        "USER 64042:64042", 'ENTRYPOINT ["sh", "/usr/local/bin/broken.sh"]',
    )  # fmt: skip
    old, streamed = new_patient(), new_patient()
    load(old, streamed)
    with Stream(node, ct_slices(old.patient_id, 40, 64), senders=4) as stream:
        stream.wait(40)
    assert balance(orthanc, old.pseudonym, stream, quarantined).arrived == 40
    before, running = verified(orthanc), images(node)

    with Stream(node, ct_series(streamed.patient_id, 128), senders=4, pace=PACE) as stream:
        stream.wait(10)
        says = fails(scenario, "playbooks/upgrade.yml", {"orthanc_image": broken})
        stream.finish()
    node.wait_until_healthy(6)
    assert "orthanc did not become healthy with the new definition" in says
    assert "the database could not be brought to version 99" in says
    assert re.search(r"runs again and is healthy: orthanc \(.*, its data as before\)", says), says
    # Otherwise the test would not have shown what it is for.
    assert re.search(r"orthanc: [1-9]\d* objects that it had received meanwhile stored again", says)
    half = f"/srv/auscat/orthanc/{HALF}"
    assert re.search(rf"1 file .* Each stays until you remove it: {half}\b", says), says
    node.run("rm", half)
    assert (
        "What was acknowledged is there, as far as the failed version left it on the disk" in says
    )
    assert images(node) == running
    result = balance(orthanc, streamed.pseudonym, stream, quarantined)
    print(result, "refused or aborted", stream.refusals)
    assert result.arrived == result.acknowledged == len(stream.offered), result
    assert (result.doubled, result.quarantined, result.lost) == (0, 0, 0), result
    after = verified(orthanc)
    assert {instance: after.get(instance) for instance in before} == before
    assert len(after) == len(before) + result.arrived
    files = "find /srv/auscat/orthanc/[0-9a-f][0-9a-f] -type f | wc -l"
    wait_for(
        "no file of the storage was left over",
        lambda: int(node.shell(files)) == attachments(orthanc),
        60,
    )
    assert not node.host.file(COPIES).exists


def test_keydb_that_migrates_and_is_never_healthy(
    scenario: Scenario,
    node: Node,
    pacs: Machine,
    load: Callable[..., None],
    version_of: Callable[..., str],
) -> None:
    """Its custodian enters a patient into the version that fails."""
    migration = script(
        "/etc/keydb/migrations/4.sql",
        "INSERT INTO schema_version (version) VALUES (4);",
        "ALTER TABLE patient ADD COLUMN site text NOT NULL DEFAULT 'x';",
    )
    broken = version_of(
        "keydb", "broken", "USER root", migration,
        "RUN chmod 644 /etc/keydb/migrations/4.sql", "USER 64432:64432",
        "HEALTHCHECK --interval=2s --start-period=20s --retries=2 CMD echo view is gone; false",
    )  # fmt: skip
    load(*(new_patient() for _ in range(20)))
    before, running = pairs(node), images(node)
    late = new_patient()
    entered: list[str] = []

    def custodian() -> None:
        statement = (
            f"INSERT INTO patient (patient_id, pseudonym, site) VALUES ('{late.patient_id}', "
            f"'{late.pseudonym}', 'y') RETURNING date_shift_days"
        )
        login = (
            f"postgresql://key_admin:{node.variables['keydb_password']}@{node.address}:5433/key_db"
        )

        def enter() -> bool:
            answer = pacs.run(
                *("psql", "--no-psqlrc", "--quiet", "--no-align", "--tuples-only", login),
                *("--command", statement),
                check=False,
            )
            entered.append(answer.stdout.strip())
            return answer.returncode == 0

        wait_for("the new version takes a patient in", enter, 240)

    with_custodian = threading.Thread(target=custodian)
    with_custodian.start()
    says = fails(scenario, "site.yml", {"keydb_image": broken})
    with_custodian.join(10)
    node.wait_until_healthy(6)
    assert "keydb did not become healthy with the new definition" in says
    assert re.search(r"runs again and is healthy: keydb \(.*, its data as before\)", says), says
    assert "keydb: 1 patient loaded meanwhile entered again." in says
    assert images(node) == running
    (shift,) = filter(None, entered)
    lines = pairs(node).splitlines()
    # The same columns as before, every pair as it was, and the late one with its date shift.
    assert set(before.splitlines()) < set(lines)
    (new,) = set(lines) - set(before.splitlines())
    assert {late.patient_id, late.pseudonym, shift} < set(new.split("\t")), new
    assert not node.host.file(COPIES).exists


def test_what_was_changed_before_goes_back_too(
    scenario: Scenario, node: Node, version_of: Callable[..., str], patient: Patient
) -> None:
    broken = version_of(
        "ctp", "broken", "USER root", "RUN rm -r /usr/lib/python3/dist-packages/pynetdicom",
        "USER 64104:64104",
    )  # fmt: skip
    before = {name: service["Spec"] for name, service in node.services().items()}
    extra = {"ctp_image": broken, "orthanc_memory_mib": 1400}
    says = fails(scenario, "playbooks/upgrade.yml", extra)
    assert "ctp did not become healthy" in says
    assert re.search(r"again and is healthy: orthanc \(\S+\), ctp_export \(\S+\), ctp", says), says
    assert {name: service["Spec"] for name, service in node.services().items()} == before
    node.wait_until_healthy(6)


def test_an_option_that_does_not_work(scenario: Scenario, node: Node) -> None:
    before = {name: service["Spec"] for name, service in node.services().items()}
    # TLS without a certificate: Orthanc ends at once.
    says = fails(scenario, "site.yml", {"orthanc_options": {"DicomTlsEnabled": True}})
    assert "orthanc did not become healthy" in says
    assert "DICOM TLS is enabled in Orthanc SCP, but no certificate was provided" in says
    assert {name: service["Spec"] for name, service in node.services().items()} == before
    outcome = scenario.play("site.yml", extra={"verify_enabled": False})
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed_tasks == []
