#!/usr/bin/python
"""Ansible module: send a phantom straight to Orthanc, find it there and remove it again."""

from __future__ import annotations

DOCUMENTATION = r"""
module: proof_isolation
short_description: Test Orthanc without CTP, with a phantom that is removed again
version_added: 0.1.0
description:
  - Nothing de-identifies what reaches Orthanc past CTP. Only phantoms of this project are sent,
    told by all their identifiers; one other file, and nothing is sent.
  - On Orthanc's own machine the sender enters the network of Orthanc's container, so that no port
    has to be opened to anybody. Files lie in a directory of root's and are removed before the
    module ends.
  - Does not report a change, because the test leaves nothing behind.
requirements: [dcmtk, python3-pydicom]
options:
  state:
    description: >-
      V(read) checks what would be sent and returns its UIDs; V(sent) sends it; V(found) looks for
      it over the REST API; V(absent) removes it. V(refused_dicom) and V(refused_rest) send an
      object of the proof's unknown patient without any mark of de-identification, which Orthanc has
      to refuse.
    type: str
    choices: [read, sent, found, absent, refused_dicom, refused_rest]
    required: true
  token:
    description: Ten digits, the first one 1, from which the phantom follows.
    type: str
    default: ""
  files:
    description: Directory of phantoms to send instead, on the machine that sends.
    type: str
    default: ""
  service:
    description: Full name of Orthanc's Swarm service.
    type: str
    default: auscat_orthanc
  address:
    description: >-
      Orthanc's address, as seen from the machine that sends; empty means the inside of Orthanc's
      container on this machine.
    type: str
    default: ""
  port:
    description: Orthanc's DICOM port at that address.
    type: int
    default: 4242
  calling_ae_title:
    description: The AE title that Orthanc accepts, CTP's.
    type: str
    default: CTP
  called_ae_title:
    description: AE title of Orthanc.
    type: str
    default: ORTHANC
  url:
    description: Orthanc's REST API.
    type: str
    default: https://127.0.0.1:8042
  user:
    description: One of RegisteredUsers in orthanc.json.
    type: str
    default: ""
  password:
    description: The user's password.
    type: str
    default: ""
  marks:
    description: >-
      The variable orthanc_required_marks: the phantom is sent with these marks. Empty: as it is.
    type: dict
    default: {}
  uids:
    description: SOP Instance UIDs of what was sent, for V(found) and V(absent).
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds to wait for what Orthanc acknowledged.
    type: int
    default: 30
extends_documentation_fragment:
  - auscat.imaging.trust
  - auscat.imaging.proof
attributes:
  check_mode: {support: full, description: "Reads, and sends nothing."}
  diff_mode: {support: none, description: Nothing is changed that would stay.}
"""

EXAMPLES = r"""
- name: Send the phantom to Orthanc
  auscat.imaging.proof_isolation:
    state: sent
    token: "1234567890"
    where: "{{ inventory_hostname }}"
"""

RETURN = r"""
checks:
  description: Rows with check, where, passed, detail and remedy.
  type: list
  elements: dict
  returned: success
uids:
  description: SOP Instance UIDs of what would be sent.
  type: list
  elements: str
  returned: with state V(read)
log:
  description: Last tasks and log lines of Orthanc.
  type: str
  returned: with state V(found)
"""

import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.host.http import TRUST_OPTION
from ansible_collections.auscat.imaging.plugins.module_utils.proof.checks import (
    Report,
    wait_for,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.isolation import (
    ANSWERS,
    FOUND,
    REFUSES_DICOM,
    REFUSES_REST,
    REMOVED,
    TAKEN,
    Phantom,
    made_phantoms,
    read_phantoms,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.names import UID_ROOT
from ansible_collections.auscat.imaging.plugins.module_utils.proof.orthanc import Orthanc
from ansible_collections.auscat.imaging.plugins.module_utils.proof.past_ctp import (
    Way,
    instances,
    refused_over_dicom,
    refused_over_rest,
    remove,
    send,
)
from ansible_collections.auscat.imaging.plugins.module_utils.stack.state import diagnosis


def phantoms(module: AnsibleModule) -> list[Phantom]:
    """Return what is to be sent; anything but phantoms of this project fails the module."""
    files = module.params["files"]
    try:
        if files:
            return read_phantoms(Path(files))
        with tempfile.TemporaryDirectory(dir=module.tmpdir) as directory:
            return made_phantoms(module.params["token"], Path(directory))
    except (RuntimeError, ValueError, OSError) as error:
        what = f"test_orthanc_files is {files}: {error}" if files else str(error)
        module.fail_json(
            msg=f"{what}. Accepted: phantoms that this project made, since nothing de-identifies"
            " what goes to Orthanc past CTP. Leave test_orthanc_files out, and one is made. Nothing"
            " was sent."
        )
        raise


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {
                "type": "str",
                "choices": ["read", "sent", "found", "absent", "refused_dicom", "refused_rest"],
                "required": True,
            },
            "token": {"type": "str", "default": "", "no_log": False},
            "files": {"type": "str", "default": ""},
            "service": {"type": "str", "default": "auscat_orthanc"},
            "address": {"type": "str", "default": ""},
            "port": {"type": "int", "default": 4242},
            "calling_ae_title": {"type": "str", "default": "CTP"},
            "called_ae_title": {"type": "str", "default": "ORTHANC"},
            "url": {"type": "str", "default": "https://127.0.0.1:8042"},
            "trust": TRUST_OPTION,
            "user": {"type": "str", "default": ""},
            "password": {"type": "str", "default": "", "no_log": True},
            "uids": {"type": "list", "elements": "str", "default": []},
            "marks": {"type": "dict", "default": {}},
            "timeout": {"type": "int", "default": 30},
            "where": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    report = Report(parameters["where"])
    state, token = parameters["state"], parameters["token"]
    way = Way.of(parameters, module.tmpdir)
    if state == "read":
        uids = [phantom.sop_instance_uid for phantom in phantoms(module)]
        module.exit_json(changed=False, checks=[], uids=uids)
    if module.check_mode:
        module.exit_json(changed=False, checks=[], log="")
    if state.startswith("refused"):
        remedy = (
            "Keep patients away from the node: whoever has a login can put names into the archive."
            " The image that runs has no guard, or orthanc_required_marks asks for too little: take"
            " this project's image, or read docs/access.md on images of others."
        )
        if state == "refused_dicom":
            report.attempt(REFUSES_DICOM, remedy, lambda: refused_over_dicom(way, token))
        else:
            asked = Orthanc.of(parameters)
            report.attempt(
                REFUSES_REST, remedy, lambda: refused_over_rest(asked, token, module.tmpdir)
            )
        module.exit_json(changed=False, checks=report.rows())
    if state == "sent":
        found = phantoms(module)
        report.attempt(
            TAKEN,
            "See docker service ps and the log of Orthanc; DicomModalities and DicomCheckCalledAet"
            " in orthanc.json (orthanc_ctp_aet, orthanc_ctp_addresses, orthanc_aet); between two"
            " machines, the network and orthanc_dicom_sources.",
            lambda: send(way, found, parameters["marks"]),
        )
        module.exit_json(changed=False, checks=report.rows())
    uids = parameters["uids"]
    if any(not uid.startswith(UID_ROOT) for uid in uids):
        module.fail_json(msg="A UID is none of a phantom. Nothing was looked for or removed.")
    orthanc = Orthanc.of(parameters)
    if state == "absent":
        report.attempt(
            REMOVED,
            "Delete the patient in Orthanc by hand, or run playbooks/verify.yml, which removes all"
            " phantoms once Orthanc answers.",
            lambda: remove(orthanc, uids),
        )
        module.exit_json(changed=False, checks=report.rows())

    def all_found() -> tuple[list[str], str]:
        wait_for(lambda: len(instances(orthanc, uids)) >= len(uids), parameters["timeout"])
        there = len(instances(orthanc, uids))
        seen = f"{there} of {len(uids)} objects found"
        return ([] if there >= len(uids) else [seen]), seen

    answers = report.attempt(
        ANSWERS,
        "Check whether Orthanc's service runs, whether orthanc_web_port is published, and whether"
        " the password of the first of orthanc_registered_users is the one that was deployed.",
        lambda: ([], f"{orthanc.url} answers: Orthanc {orthanc.version()}"),
    )
    if answers:
        report.attempt(FOUND, "Look at Orthanc's log and at the free space.", all_found)
    stack, _, name = parameters["service"].rpartition("_")
    module.exit_json(changed=False, checks=report.rows(), log=diagnosis(stack, name))


if __name__ == "__main__":
    main()
