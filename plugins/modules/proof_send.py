#!/usr/bin/python
"""Ansible module: send the proof's two studies to CTP, as a PACS would."""

from __future__ import annotations

DOCUMENTATION = r"""
module: proof_send
short_description: Send a synthetic study for a known and for an unknown patient to CTP
version_added: 0.1.0
description:
  - Reads with OCR the names that it has written into the pixels of some images, tries a C-ECHO to
    Orthanc from CTP's network, then sends both studies with dcmtk's dcmsend, or over TLS with
    storescu.
  - The files lie in a directory that only root may read and are removed before the module ends.
  - Does not report a change, because a proof leaves nothing behind.
requirements:
  [dcmtk, python3-pydicom, tesseract-ocr, tesseract-ocr-eng, fonts-dejavu-core, python3-pil]
options:
  issuer:
    description: Issuer of Patient ID (0010,0021) of the known patient; empty for none.
    type: str
    default: ""
  address:
    description: Address of CTP's DICOM port; empty means this host's address on its default route.
    type: str
    default: ""
  port:
    description: CTP's DICOM port, 1 to 65535.
    type: int
    default: 8104
  calling_ae_title:
    description: AE title of the sender; empty means one that is itself a mark.
    type: str
    default: ""
  called_ae_title:
    description: AE title of CTP.
    type: str
    default: CTP
  service:
    description: Full name of CTP's Swarm service.
    type: str
    default: auscat_ctp
  tls_service:
    description:
      - Full name of the Swarm service that takes DICOM over TLS at that port. The proof shows its
        certificate, since it knows no other that the site accepts.
      - Empty means that the studies are sent in clear text.
    type: str
    default: ""
  orthanc_hostname:
    description: >-
      Name or address of Orthanc, as CTP reaches it; empty means ORTHANC_HOSTNAME in CTP's
      container.
    type: str
    default: ""
  orthanc_port:
    description: Orthanc's DICOM port; 0 means ORTHANC_PORT in CTP's container.
    type: int
    default: 0
  orthanc_ae_title:
    description: AE title of Orthanc, called by CTP.
    type: str
    default: ORTHANC
  ctp_ae_title:
    description: AE title under which CTP calls Orthanc.
    type: str
    default: CTP
extends_documentation_fragment:
  - auscat.imaging.proof
  - auscat.imaging.proof.study
attributes:
  check_mode: {support: full, description: Does nothing and returns no rows.}
  diff_mode: {support: none, description: Nothing is changed that would stay.}
"""

EXAMPLES = r"""
- name: Send a known and an unknown patient's study to CTP
  auscat.imaging.proof_send:
    token: "1234567890"
    where: "{{ inventory_hostname }}"
"""

RETURN = r"""
checks:
  description: The rows of the proof, each with check, where, passed, detail and remedy.
  type: list
  elements: dict
  returned: success
"""

import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.host.containers import (
    container_of,
    containers_of,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.checks import Report
from ansible_collections.auscat.imaging.plugins.module_utils.proof.dcmtk import (
    echo_from,
    own_address,
    send_files,
    tls_of,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.judgement import legible_problems
from ansible_collections.auscat.imaging.plugins.module_utils.proof.phantom import (
    make_study,
    write_object,
    write_study,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.studies import Study


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "token": {"type": "str", "required": True, "no_log": False},
            "ct_instances": {"type": "int", "default": 5},
            "pseudonym_prefix": {"type": "str", "default": ""},
            "pixel_rules": {"type": "list", "elements": "dict", "default": []},
            "issuer": {"type": "str", "default": ""},
            "address": {"type": "str", "default": ""},
            "port": {"type": "int", "default": 8104},
            "calling_ae_title": {"type": "str", "default": ""},
            "called_ae_title": {"type": "str", "default": "CTP"},
            "service": {"type": "str", "default": "auscat_ctp"},
            "tls_service": {"type": "str", "default": ""},
            "orthanc_hostname": {"type": "str", "default": ""},
            "orthanc_port": {"type": "int", "default": 0},
            "orthanc_ae_title": {"type": "str", "default": "ORTHANC"},
            "ctp_ae_title": {"type": "str", "default": "CTP"},
            "where": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    report = Report(parameters["where"])

    def echo() -> tuple[list[str], str]:
        container = container_of(parameters["service"])
        return [], "answered by " + echo_from(
            container,
            parameters["ctp_ae_title"],
            parameters["orthanc_ae_title"],
            parameters["orthanc_hostname"],
            parameters["orthanc_port"],
        )

    def study_of(known: bool) -> Study:
        return make_study(
            parameters["token"],
            known,
            parameters["ct_instances"],
            parameters["pseudonym_prefix"],
            parameters["issuer"] if known else None,
            parameters["pixel_rules"],
        )

    def send(known: bool) -> tuple[list[str], str]:
        study = study_of(known)
        address = parameters["address"] or own_address()
        calling = parameters["calling_ae_title"] or f"Q{study.token}N0000"
        lenders = [parameters["tls_service"]] if parameters["tls_service"] else []
        with (
            tempfile.TemporaryDirectory(dir=module.tmpdir) as directory,
            tls_of(containers_of(lenders)) as tls,
        ):
            write_study(study, Path(directory))
            for number, image in enumerate(study.lettered, start=1):
                write_object(image.dataset, Path(directory, f"lettered{number}.dcm"))
            acknowledged = send_files(
                address,
                parameters["port"],
                calling,
                parameters["called_ae_title"],
                Path(directory),
                tls=tls,
            )
        sent = len(study.datasets) + len(study.lettered)
        seen = f"{acknowledged} of {sent} objects acknowledged by {address}:{parameters['port']}"
        seen += " over TLS" if tls else ""
        return ([] if acknowledged == sent else [seen]), seen

    if not module.check_mode:
        report.attempt(
            "Orthanc answers a C-ECHO from CTP's network",
            "Look at Orthanc's log, at ORTHANC_HOSTNAME and ORTHANC_PORT of CTP, and at"
            " DicomModalities and DicomCheckCalledAet in orthanc.json.",
            echo,
        )
        report.attempt(
            "OCR reads the name in the pixels of what is sent",
            "What OCR cannot read here, it cannot miss in what arrives: nothing can be judged. Run"
            " site.yml, which installs the packages of verify_packages, then the proof again.",
            lambda: legible_problems(study_of(True)),
        )
        # CTP takes them in this order: when the known patient's study has arrived, nothing of the
        # unknown one's is still under way in the same queue.
        for known in (False, True):
            report.attempt(
                f"CTP takes the {'known' if known else 'unknown'} patient's study",
                "Look at CTP's log, at the firewall's sources of its DICOM port, and at free disk"
                " space. Of a class that CTP does not take, no image for ctp_pixel_rules is taken"
                " either: leave out that declaration. Needs the packages of verify_packages.",
                lambda known=known: send(known),
            )
    module.exit_json(changed=False, checks=report.rows())


if __name__ == "__main__":
    main()
