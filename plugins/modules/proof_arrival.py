#!/usr/bin/python
"""Ansible module: check in Orthanc what arrived of the proof's studies."""

from __future__ import annotations

DOCUMENTATION = r"""
module: proof_arrival
short_description: Check in Orthanc that the known patient's study arrived and hides nothing
version_added: 0.1.0
description:
  - Works through Orthanc's REST API only, as a researcher would.
  - Builds the study that was sent from the token and compares it with what arrived.
  - With V(absent), deletes the studies of all proofs from Orthanc and nothing else.
  - Does not report a change, because a proof leaves nothing behind.
requirements: [python3-pydicom, tesseract-ocr, tesseract-ocr-eng, fonts-dejavu-core, python3-pil]
options:
  deidentification:
    description:
      - The options that the site declares, as C(ctp_deidentification); what they keep may arrive.
    type: dict
    default: {}
  url:
    description: Orthanc's REST API.
    type: str
    default: https://127.0.0.1:8042
  user:
    description: One of RegisteredUsers in orthanc.json.
    type: str
    required: true
  password:
    description: The user's password.
    type: str
    required: true
  since:
    description: >-
      Last entry in Orthanc's log of changes before the studies were sent, as
      M(auscat.imaging.proof_login) returns it; what came in later is searched for the proof's
      images. -1 searches nothing.
    type: int
    default: -1
  timeout:
    description: Seconds to wait for the known patient's study.
    type: int
    default: 120
  state:
    description: V(present) checks what arrived; V(absent) cleans up.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - auscat.imaging.trust
  - auscat.imaging.proof
  - auscat.imaging.proof.study
  - auscat.imaging.proof.blanks
attributes:
  check_mode: {support: full, description: Does nothing and returns no rows.}
  diff_mode: {support: none, description: Nothing is changed that would stay.}
"""

EXAMPLES = r"""
- name: Check what arrived in Orthanc
  auscat.imaging.proof_arrival:
    token: "1234567890"
    user: admin
    password: "{{ orthanc_registered_users.admin }}"
    where: "{{ inventory_hostname }}"
"""

RETURN = r"""
checks:
  description: The rows of the proof, each with check, where, passed, detail and remedy.
  type: list
  elements: dict
  returned: success
"""

import json

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.host.http import TRUST_OPTION
from ansible_collections.auscat.imaging.plugins.module_utils.proof.checks import (
    Report,
    wait_for,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.judgement import (
    Arrived,
    Retained,
    is_stray,
    judge_pixels,
    judge_study,
    read_arrived,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.names import (
    PATIENT_PREFIX,
    PSEUDONYM_PREFIX,
    is_proof_patient,
    is_proof_pseudonym,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.orthanc import Orthanc
from ansible_collections.auscat.imaging.plugins.module_utils.proof.phantom import build_studies
from ansible_collections.auscat.imaging.plugins.module_utils.proof.studies import Study

# A busy node receives other studies while the proof runs. Files larger than any of the proof's, and
# more of them than this, are not searched. The images of declared devices are as large as theirs.
SEARCHED_BYTES = 4 * 1024 * 1024
SEARCHED_INSTANCES = 2000


def instances_of(orthanc: Orthanc, patient: str) -> list[str]:
    """Return Orthanc's identifiers of a patient's instances."""
    return orthanc.find("Instance", {"PatientID": patient})


def sent_uids(studies: list[Study], keyword: str) -> str:
    """Return the UIDs of all objects that were sent, as a value for a query."""
    uids = {
        str(dataset[keyword].value)
        for study in studies
        for dataset in [*study.datasets, *(each.dataset for each in study.lettered)]
    }
    return "\\".join(sorted(uids))


def index_records(orthanc: Orthanc, instances: list[str]) -> dict[str, str]:
    """Return what Orthanc's index tells of instances and all above them, as text by name."""
    records: dict[str, str] = {}
    above = {"series": "ParentSeries", "studies": "ParentStudy", "patients": "ParentPatient"}
    identifiers = set(instances)
    collection = "instances"
    for parent_collection, parent in [*above.items(), ("", "")]:
        parents = set()
        for identifier in sorted(identifiers):
            resource = orthanc.resource(collection, identifier) or {}
            name = f"Orthanc's index, {collection} {identifier[:8]}"
            metadata = orthanc.get(f"/{collection}/{identifier}/metadata?expand")
            records[name] = f"{resource} {metadata.decode('utf-8', 'replace')}"
            if parent in resource:
                parents.add(str(resource[parent]))
        collection, identifiers = parent_collection, parents
    return records


def find_strays(
    orthanc: Orthanc, since: int, studies: list[Study], apart: list[str]
) -> tuple[list[str], int, int]:
    """Search what came in for objects of the proof under any name.

    Returns:
        Orthanc's identifiers of the objects, how many were searched, and how many came in.
    """
    if since < 0:
        return [], 0, 0
    candidates = [entry for entry in orthanc.new_instances(since) if entry not in set(apart)]
    largest = SEARCHED_BYTES + max(
        (len(each.dataset.PixelData) for study in studies for each in study.lettered), default=0
    )
    strays = []
    searched = 0
    for identifier in candidates[:SEARCHED_INSTANCES]:
        resource = orthanc.resource("instances", identifier)
        if resource is None:
            continue
        searched += 1
        if int(resource.get("FileSize", 0)) > largest:
            continue
        raw = orthanc.instance_file(identifier)
        if raw is not None and is_stray(raw, studies):
            strays.append(identifier)
    return strays, searched, len(candidates)


def look_after(
    orthanc: Orthanc,
    report: Report,
    studies: list[Study],
    since: int,
    timeout: int,
    retained: Retained,
) -> None:
    """Add the rows about what arrived."""
    known = studies[0]
    expected = len(known.datasets) + len(known.blanked)
    instances: list[str] = []

    def complete() -> bool:
        nonlocal instances
        instances = instances_of(orthanc, known.pseudonym)
        return len(instances) >= expected

    arrived: list[Arrived] = []
    records: dict[str, str] = {}

    def fetch() -> tuple[list[str], str]:
        in_time = wait_for(complete, timeout)
        files = {}
        for identifier in instances:
            raw = orthanc.instance_file(identifier)
            if raw is not None:
                files[identifier] = raw
        readable, problems = read_arrived(files)
        arrived.extend(readable)
        records.update(index_records(orthanc, list(files)))
        if not in_time:
            problems.append(
                f"{len(instances)} of {expected} objects stood under the pseudonym "
                f"{known.pseudonym} after {timeout} s"
            )
        return problems, f"{len(arrived)} objects found under {known.pseudonym} and read"

    def nothing_found() -> tuple[list[str], str]:
        problems = []
        searches = [(level, keyword, f"*{known.token}*") for level, keyword in orthanc.TEXTS]
        searches += [
            (level, keyword, sent_uids(studies, keyword)) for level, keyword in orthanc.UIDS
        ]
        for level, keyword, value in searches:
            hits = orthanc.find(level, {keyword: value})
            if hits:
                problems.append(f"{len(hits)} of level {level} by {keyword}")
        return problems, "no patient, study, series or instance has an identifier that was sent"

    def nothing_strayed() -> tuple[list[str], str]:
        strays, searched, total = find_strays(orthanc, since, studies, instances)
        problems = []
        if since < 0:
            problems.append(
                "Orthanc's log of changes could not be read before the studies were sent"
            )
        if strays:
            problems.append(f"{len(strays)} objects are in Orthanc under another name")
        if searched < total and total > SEARCHED_INSTANCES:
            problems.append(f"only {searched} of the {total} objects that came in were searched")
        return problems, f"{searched} other objects that came in meanwhile were searched"

    report.attempt(
        "Orthanc delivers what arrived",
        "Look at CTP's page, queue and log, then at Orthanc's log.",
        fetch,
    )
    judge_study(known, arrived, records, report, retained)
    if arrived:
        judge_pixels(known, arrived, report)
    report.attempt(
        "Orthanc finds neither patient by what was sent",
        "CTP lets identifiers through: stop sending patients to it until its anonymizer is right.",
        nothing_found,
    )
    report.attempt(
        "Nothing of the unknown patient's study reached Orthanc",
        "CTP must hold back every patient whom KeyDB does not know: stop sending patients to it.",
        nothing_strayed,
    )


def clean(orthanc: Orthanc, studies: list[Study], since: int) -> tuple[list[str], str]:
    """Delete the studies of all proofs."""
    patients = 0
    # Under what was sent, or under a pseudonym, whatever prefix it had in this or an earlier proof.
    for identifier in orthanc.find("Patient", {"PatientID": f"*{PATIENT_PREFIX}*"}):
        resource = orthanc.resource("patients", identifier) or {}
        patient_id = str(resource.get("MainDicomTags", {}).get("PatientID", ""))
        # What a server calls a match is not what may be deleted.
        if is_proof_patient(patient_id) or is_proof_pseudonym(patient_id):
            orthanc.delete("Patient", identifier)
            patients += 1
    if not studies:  # they could not be built, so they were not sent either
        return [], f"patients of proofs removed: {patients}"
    leaked = orthanc.find("Instance", {"SOPInstanceUID": sent_uids(studies, "SOPInstanceUID")})
    strays = set(leaked + find_strays(orthanc, since, studies, [])[0])
    # Structures, plan and dose cannot be told by an image: they go with the study in which an image
    # of the proof strayed, where nothing in that study is older than the proof.
    new = set(orthanc.new_instances(since)) if since >= 0 else set()
    for identifier in sorted(strays):
        study = json.loads(orthanc.send("GET", f"/instances/{identifier}/study")[1] or b"{}")
        if "ID" not in study:
            continue  # deleted with the study of an earlier one
        siblings = {entry["ID"] for entry in orthanc.get_json(f"/studies/{study['ID']}/instances")}
        if siblings <= new:
            orthanc.delete("Study", study["ID"])
        else:
            orthanc.delete("Instance", identifier)
    return [], f"patients of proofs removed: {patients}; other objects: {len(strays)}"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "token": {"type": "str", "required": True, "no_log": False},
            "ct_instances": {"type": "int", "default": 5},
            "pseudonym_prefix": {"type": "str", "default": ""},
            "pixel_rules": {"type": "list", "elements": "dict", "default": []},
            "blanks": {"type": "bool", "default": True},
            "deidentification": {"type": "dict", "default": {}},
            "url": {"type": "str", "default": "https://127.0.0.1:8042"},
            "trust": TRUST_OPTION,
            "user": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "since": {"type": "int", "default": -1},
            "timeout": {"type": "int", "default": 120},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "where": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    report = Report(parameters["where"])
    if module.check_mode:
        module.exit_json(changed=False, checks=[])
    orthanc = Orthanc.of(parameters)
    since, timeout = parameters["since"], parameters["timeout"]
    absent = parameters["state"] == "absent"
    # Whatever keeps the study from being built was said when it was to be sent.
    builder = Report("") if absent else report
    studies = build_studies(
        builder,
        parameters["token"],
        parameters["ct_instances"],
        parameters["pseudonym_prefix"],
        parameters["pixel_rules"],
        parameters["blanks"],
    )
    if absent:
        report.attempt(
            "Nothing of the proof is left in Orthanc",
            f"Delete in Orthanc the patients whose PatientID is {PATIENT_PREFIX}<ten digits>-KNOWN"
            f" or -UNKNOWN, or ends with {PSEUDONYM_PREFIX}<twelve hexadecimal digits>.",
            lambda: clean(orthanc, studies, since),
        )
    elif studies:
        retained = Retained.by(parameters["deidentification"])
        look_after(orthanc, report, studies, since, timeout, retained)
    module.exit_json(changed=False, checks=report.rows())


if __name__ == "__main__":
    main()
