#!/usr/bin/python
"""Ansible module: check that CTP holds the unknown patient's study back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: proof_quarantine
short_description: Check that the unknown patient's study is in CTP's quarantine
version_added: 0.1.0
description:
  - Tries wrong logins at CTP's page, waits for the objects, and counts what lies there and why.
  - With V(absent), removes the objects of all proofs from the quarantine and nothing else.
  - Does not report a change, because a proof leaves nothing behind.
requirements: [python3-pydicom, fonts-dejavu-core, python3-pil]
options:
  url:
    description: CTP's page.
    type: str
    default: https://127.0.0.1:9090
  user:
    description: User of CTP's page.
    type: str
    default: admin
  password:
    description: The user's password.
    type: str
    required: true
  flavour:
    description: Which CTP it is. The quarantine of V(auscat) cannot be looked into from outside.
    type: str
    choices: [auscat, rsna, standin]
    default: standin
  timeout:
    description: Seconds to wait for the objects.
    type: int
    default: 120
  state:
    description: >-
      V(before) waits until CTP has read KeyDB again, where it does not ask for each object;
      V(present) checks; V(absent) cleans up.
    type: str
    choices: [before, present, absent]
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
- name: Find the unknown patient's study in CTP's quarantine
  auscat.imaging.proof_quarantine:
    token: "1234567890"
    password: "{{ ctp_admin_password }}"
    where: "{{ inventory_hostname }}"
"""

RETURN = r"""
checks:
  description: The rows of the proof, each with check, where, passed, detail and remedy.
  type: list
  elements: dict
  returned: success
"""

import time
from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.care.quarantine import (
    PIXELS_NOT_BLANKED,
    PIXELS_NOT_DECLARED,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.http import (
    TRUST_OPTION,
    ClientError,
    Http,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.checks import (
    Report,
    wait_for,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.ctp import (
    CTP_FLAVOURS,
    AuscatCtp,
    Ctp,
    Quarantined,
    open_ctp,
    summarize_reasons,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.names import UID_ROOT

if TYPE_CHECKING:
    from ansible_collections.auscat.imaging.plugins.module_utils.proof.studies import Study


def wait_for_table(ctp: Ctp, report: Report, timeout: int) -> None:
    """Add a row when CTP looks patients up in a table that follows KeyDB, and wait for that table.

    The proof's patient is in KeyDB already, so a table that is read from now on holds it.
    """
    begin = time.monotonic()

    def is_new() -> bool:
        age = ctp.table_age()
        return age is None or age < time.monotonic() - begin

    def follows() -> tuple[list[str], str]:
        in_time = wait_for(is_new, timeout)
        seen = f"KeyDB was read again within {time.monotonic() - begin:.0f} s"
        return ([] if in_time else [f"KeyDB was not read again within {timeout} s"]), seen

    try:
        if ctp.table_age() is None:
            return
    except ClientError:
        return  # the rows of the state present say what is wrong with the page
    report.attempt(
        "CTP's lookup table follows KeyDB",
        "Look at CTP's log and at keydb on its page: CTP must reach KeyDB with its secrets"
        " keydb_user and keydb_pass.",
        follows,
    )


def check_from_outside(ctp: AuscatCtp, report: Report) -> None:
    """Add the only row that can be true of a CTP whose quarantine nobody can look into."""

    def answers() -> tuple[list[str], str]:
        problems, seen = ctp.answer()
        return problems, (
            f"{seen}; its quarantine cannot be looked into from outside, so that it holds the"
            " unknown patient back is judged in Orthanc alone, and what it holds of the proof stays"
        )

    report.attempt("CTP's page answers", "Look at the log of CTP and run site.yml.", answers)


def check(ctp: Ctp, report: Report, studies: list[Study], timeout: int) -> None:
    """Add the rows about CTP's page and quarantine."""
    known, unknown = (study.sop_instance_uids for study in studies)
    known = [*known, *(each.sop_instance_uid for each in studies[0].blanked)]
    captures = {each.sop_instance_uid: each for each in studies[0].held}

    def login() -> tuple[list[str], str]:
        return ctp.login_problems(), "a wrong password and no password get status 401"

    def held_back() -> tuple[list[str], str]:
        def all_there() -> bool:
            there = {entry.sop_instance_uid for entry in ctp.quarantine()}
            return there.issuperset(unknown)

        complete = wait_for(all_there, timeout)
        entries = ctp.quarantine()
        held = [entry for entry in entries if entry.sop_instance_uid in unknown]
        problems = []
        if not complete or len(held) != len(unknown):
            problems.append(f"{len(held)} of {len(unknown)} objects after {timeout} s")
        return problems, f"{summarize_reasons(held)}; {ctp.counts()}"

    def capture_held() -> tuple[list[str], str]:
        def there() -> list[Quarantined]:
            return [entry for entry in ctp.quarantine() if entry.sop_instance_uid in captures]

        complete = wait_for(lambda: len(there()) == len(captures), timeout)
        held = there()
        problems = [] if complete else [f"{len(held)} of {len(captures)} after {timeout} s"]
        for entry in held:
            image = captures[entry.sop_instance_uid]
            right = PIXELS_NOT_BLANKED if image.regions else PIXELS_NOT_DECLARED
            if entry.reason != right:
                problems.append(f"{image.what}: held back as {entry.reason!r}, not {right!r}")
        names = ", ".join(captures[entry.sop_instance_uid].what for entry in held)
        return problems, f"{names}: {summarize_reasons(held)}"

    def let_through() -> tuple[list[str], str]:
        wrong = [entry for entry in ctp.quarantine() if entry.sop_instance_uid in known]
        problems = [f"{len(wrong)} of {len(known)} objects: {summarize_reasons(wrong)}"]
        return (problems if wrong else []), "none of it is there"

    report.attempt(
        "CTP's page refuses wrong logins",
        "CTP's page must ask for a password. Look at its log and run site.yml.",
        login,
    )
    report.attempt(
        "The unknown patient's study is in CTP's quarantine",
        "CTP must hold back every patient whom KeyDB does not know. Look at its page and log, and"
        " keep patients away from it until this holds.",
        held_back,
    )
    report.attempt(
        "Images of the known patient with a name in their pixels are held back",
        "An image that can show a name must not leave before its device is declared. Keep patients"
        " away from the node, and look at CTP's script and log (docs/ctp.md, Pixels).",
        capture_held,
    )
    report.attempt(
        "The known patient's study is not held back in CTP's quarantine",
        "Look at the reason and at CTP's log. An unknown patient: CTP did not find in KeyDB what"
        " the proof has entered there; see CTP's secrets keydb_user and keydb_pass.",
        let_through,
    )


def clean(ctp: Ctp) -> tuple[list[str], str]:
    """Remove the objects of all proofs from the quarantine."""
    ours = [entry for entry in ctp.quarantine() if entry.sop_instance_uid.startswith(UID_ROOT)]
    for entry in ours:
        ctp.remove(entry)
    return [], f"objects of proofs removed: {len(ours)}; then {ctp.counts()}"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "token": {"type": "str", "required": True, "no_log": False},
            "ct_instances": {"type": "int", "default": 5},
            "pseudonym_prefix": {"type": "str", "default": ""},
            "pixel_rules": {"type": "list", "elements": "dict", "default": []},
            "blanks": {"type": "bool", "default": True},
            "url": {"type": "str", "default": "https://127.0.0.1:9090"},
            "trust": TRUST_OPTION,
            "user": {"type": "str", "default": "admin"},
            "password": {"type": "str", "required": True, "no_log": True},
            "flavour": {"type": "str", "choices": sorted(CTP_FLAVOURS), "default": "standin"},
            "timeout": {"type": "int", "default": 120},
            "state": {
                "type": "str",
                "choices": ["before", "present", "absent"],
                "default": "present",
            },
            "where": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    report = Report(parameters["where"])
    if module.check_mode:
        module.exit_json(changed=False, checks=[])
    http = Http.of(parameters)
    ctp = open_ctp(parameters["flavour"], http)
    state, timeout = parameters["state"], parameters["timeout"]
    if isinstance(ctp, AuscatCtp):
        if state == "present":
            check_from_outside(ctp, report)
    elif state == "before":
        wait_for_table(ctp, report, timeout)
    elif state == "absent":
        report.attempt(
            "Nothing of the proof is left in CTP's quarantine",
            "Remove the objects on CTP's page; their UIDs begin with " + UID_ROOT + ".",
            lambda: clean(ctp),
        )
    else:
        # Imported here: the other states need no pydicom, whose import costs most of their time.
        from ansible_collections.auscat.imaging.plugins.module_utils.proof.phantom import (
            build_studies,
        )

        studies = build_studies(
            report,
            parameters["token"],
            parameters["ct_instances"],
            parameters["pseudonym_prefix"],
            parameters["pixel_rules"],
            parameters["blanks"],
        )
        if studies:
            check(ctp, report, studies, timeout)
    module.exit_json(changed=False, checks=report.rows())


if __name__ == "__main__":
    main()
