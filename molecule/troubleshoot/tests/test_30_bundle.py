"""What support gets holds neither a secret nor a patient, whatever the logs hold."""

from __future__ import annotations

import base64
import contextlib
import itertools
import tarfile
from pathlib import Path
from urllib.parse import quote, quote_plus

from ansible_collections.auscat.imaging.plugins.module_utils.proof import names as proof_names
from ansible_collections.auscat.imaging.plugins.module_utils.proof import phantom, studies
from shared.ctp_node import Patient, status
from shared.machines import Machine, Node, Scenario, wait_for
from shared.streams import Rest, arrived

TOKEN = "1357924680"


def secret_forms(value: str) -> set[str]:
    """A password as it is, and as programs write it."""
    whole = [value, f"admin:{value}", f"ctp_key_db_select:{value}"]
    forms = {value, quote(value), quote(value, safe=""), quote_plus(value)}
    for each, start in itertools.product(whole, range(3)):
        # Base64 of a text within another one depends on where it begins; its ends are left out.
        coded = base64.b64encode(b"\0" * start + each.encode()).decode()
        forms.add(coded[4 : len(coded) - 4])
    return forms


def test_no_secret_and_no_patient_is_in_the_bundle(
    scenario: Scenario,
    node: Node,
    pacs: Machine,
    ctp: Rest,
    orthanc: Rest,
    load: object,
    tmp_path: Path,
) -> None:
    # Without an issuer, as it is loaded: another one would be held back.
    known = phantom.make_study(TOKEN, True, pseudonym_prefix="ANON-", issuer="")
    unknown = phantom.make_study(TOKEN, False)
    identifier = proof_names.patient_identifier(TOKEN, True)
    assert callable(load)
    load(Patient(identifier, known.pseudonym))
    for study, name in ((known, "known"), (unknown, "unknown")):
        directory = tmp_path / name
        directory.mkdir()
        phantom.write_study(study, directory)
        pacs.put(directory, f"/root/{name}")
        pacs.run(
            *("dcmsend", "--aetitle", "PACS", "--call", "CTP", "--scan-directories"),
            *(node.address, "8104", f"/root/{name}"),
        )
    wait_for("the known patient arrived", lambda: arrived(orthanc, known.pseudonym), 60)
    wait_for(
        "the unknown one is held back",
        lambda: len(status(ctp)["quarantine"]) >= len(unknown.datasets),
        60,
    )
    # Put identifiers into every log on purpose: a sender's name, a query, a login, a statement.
    pacs.run(
        *("echoscu", "--aetitle", f"N{TOKEN}", "--call", f"Q{TOKEN}", node.address, "8104"),
        check=False,
    )
    for path in (f"/patients/{identifier}", f"/{identifier}?PatientName={identifier}"):
        for user, password in ((identifier, "wrong"), ("admin", orthanc.password)):
            with contextlib.suppress(OSError):  # it answers with 401 and 404
                Rest(orthanc.url, user, password).ask(path)
    # KeyDB keeps failed statements out of its log, but not the name of a missing database.
    node.shell(
        "docker exec $(docker ps -qf name=auscat_keydb) sh -c"
        f" 'psql -d {identifier} -U $(cat /run/secrets/keydb_user)' || true"
    )
    logs = node.shell(
        "for each in $(docker service ls --format '{{.Name}}'); do"
        " docker service logs --raw $each 2>&1; done"
    )
    assert identifier in logs, "else nothing is proved: the logs do hold an identifier"

    extra = {"troubleshoot_bundle_directory": str(tmp_path)}
    outcome = scenario.play("playbooks/troubleshoot.yml", extra=extra)
    assert outcome.returncode == 2, outcome.errors  # senders were refused, and objects held back
    (bundle,) = tmp_path.glob("*.tar.gz")
    assert str(bundle) in outcome.text, "the operator is told where it is"
    assert bundle.stat().st_mode & 0o777 == 0o600
    with tarfile.open(bundle) as archive:
        contents = {
            member.name: archive.extractfile(member).read()  # type: ignore[union-attr]
            for member in archive.getmembers()
        }
    names = {name.partition("/")[2] for name in contents}
    assert {"report.txt", "observations.json", "node-ctp.log", "node-keydb.log",
            "node-orthanc.log"} <= names  # fmt: skip
    everything = b"\n".join([*contents.values(), *(name.encode() for name in contents)])
    # It is no empty promise either.
    for useful in (b"Reception is open", b"postgresql LOG", b"orthanc W", b"unknown-patient"):
        assert useful in everything, useful

    for study in (known, unknown):
        assert not studies.find_marks(everything, study)
        for dataset in study.datasets:
            for keyword in ("PatientID", "PatientName", "SOPInstanceUID", "StudyInstanceUID"):
                assert str(dataset[keyword].value).encode() not in everything, keyword
    assert TOKEN.encode() not in everything
    assert known.pseudonym.encode() not in everything
    held = [each["id"] for each in status(ctp)["quarantine"]]
    assert held and not [each for each in held if each.encode() in everything]

    passwords = [
        node.variables["orthanc_registered_users"]["admin"],
        *(node.variables[f"{name}_password"] for name in ("keydb", "keydb_ctp", "ctp_admin")),
    ]
    for form in set().union(*map(secret_forms, passwords)):
        assert form.encode() not in everything
    # Nor does Ansible's own record of the run hold any.
    assert not [each for each in passwords if each in outcome.text]
    assert identifier not in outcome.text
