"""Why studies do not arrive: what was seen on the machines goes in, a diagnosis comes out.

Pure. The steps are those of the AusCAT guide, in its order: did CTP accept, did CTP pass on, can
CTP reach Orthanc, does Orthanc alone accept, can the operator reach it. Each step is ok, failed, or
could not be checked for a reason that another step tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.care.diagnosis import (
    UNKNOWN,
    Diagnosis,
)
from ansible_collections.auscat.imaging.plugins.module_utils.care.machine_steps import check_machine
from ansible_collections.auscat.imaging.plugins.module_utils.care.study_steps import STEPS
from ansible_collections.auscat.imaging.plugins.module_utils.host.tables import table


def diagnose(observations: Iterable[Mapping[str, Any]]) -> Diagnosis:
    """Return what the observations of all machines mean.

    Args:
        observations: one for each machine: what the module troubleshoot_host returned as ``seen``,
            with ``controller`` (the controller's time in seconds since 1970), ``reach`` (rows of
            the module troubleshoot_reach) and ``phantom`` (rows of the module proof_isolation)
            added; a machine that could not be reached has host and ``reached`` false only.
    """
    result = Diagnosis()
    seen = sorted(observations, key=lambda each: str(each["host"]))
    for each in seen:
        check_machine(result, each)
    reached = [each for each in seen if each.get("reached")]
    for check in STEPS:
        for each in reached:
            check(result, each, reached)
    result.findings.sort(key=lambda finding: finding.rank)
    return result


def findings(observations: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what is wrong, in words, what to fix first at the front; nothing, where nothing is.

    Args:
        observations: as `diagnose` takes them.
    """
    return [finding.text for finding in diagnose(observations).findings]


def report(observations: Iterable[Mapping[str, Any]]) -> str:
    """Return the text for the operator: the steps as a table, then the diagnosis.

    Args:
        observations: as `diagnose` takes them.
    """
    found = diagnose(observations)
    lines = table(
        ["", "where", "step", "detail"],
        [(step.state, step.where, step.what, step.detail) for step in found.steps],
    )
    lines.append("")
    if not found.findings:
        unknown = sum(step.state == UNKNOWN for step in found.steps)
        lines.append(
            "Diagnosis: nothing wrong found. What was checked is listed above"
            + (f"; {unknown} steps could not be checked." if unknown else ".")
        )
        lines.append(
            "If a study is missing nevertheless, check the sender: what it sent, to which "
            "address, port and AE title, and what it was answered."
        )
    else:
        lines.append("Diagnosis, what to fix first at the top:")
        for number, finding in enumerate(found.findings, start=1):
            lines += [f"{number}. {finding.text}", f"   -> {finding.remedy}"]
    return "\n".join(lines)
