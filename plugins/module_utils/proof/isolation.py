"""Orthanc without CTP: which files may be sent straight to it, and what the outcome means.

Nothing de-identifies what goes to Orthanc past CTP, so only phantoms of this project may.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.auscat.imaging.plugins.module_utils.proof.names import (
    PATIENT_PREFIX,
    UID_ROOT,
    is_proof_patient,
    pseudonym_of,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.phantom import (
    PYDICOM_ERROR,
    make_study,
    write_object,
    write_study,
)

with contextlib.suppress(ImportError):  # `read_phantoms` says so.
    from pydicom import dcmread
    from pydicom.dataset import Dataset

# What each row of the test says. The diagnosis follows from which of them hold.
TAKEN = "Orthanc takes the phantom from its DICOM port, without CTP"
ANSWERS = "Orthanc's REST API answers on the machine's port"
FOUND = "Orthanc finds the phantom"
REMOVED = "Nothing of the phantom is left in Orthanc"
REFUSES_DICOM = "Orthanc refuses an identified object that is sent to it over DICOM"
REFUSES_REST = "Orthanc refuses an identified object that is uploaded over its REST API"

_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


class ForeignFileError(ValueError):
    """A file is no phantom of this project; the text says why, and never what it holds."""


class Phantom(NamedTuple):
    """A file that may be sent to Orthanc."""

    sop_instance_uid: str
    raw: bytes


def read_phantom(raw: bytes) -> Phantom:
    """Accept the bytes of a file that is a phantom of this project by all its identifiers.

    The patient's identifier is one of a proof, and the token in it stands in the patient's name and
    in the UIDs of study, series and object, whose root nobody else can own.

    Raises:
        ForeignFileError: it is anything else.
    """
    try:
        dataset = dcmread(io.BytesIO(raw), stop_before_pixels=True)
        patient, name = str(dataset.PatientID), str(dataset.PatientName)
        uids = [str(dataset[keyword].value) for keyword in _UIDS]
    except Exception as error:  # pydicom raises many kinds for what is no DICOM file
        raise ForeignFileError(
            f"it cannot be read as a DICOM file of a patient ({type(error).__name__})"
        ) from error
    if not is_proof_patient(patient):
        raise ForeignFileError(
            f"its PatientID is not {PATIENT_PREFIX}<ten digits>-KNOWN or -UNKNOWN"
        )
    token = patient[len(PATIENT_PREFIX) :][:10]
    if token not in name:
        raise ForeignFileError("its PatientName does not belong to its PatientID")
    for keyword, uid in zip(_UIDS, uids):
        if not uid.startswith(f"{UID_ROOT}{token}"):
            raise ForeignFileError(f"its {keyword} does not begin with {UID_ROOT} and the token")
    return Phantom(uids[-1], raw)


def read_phantoms(directory: Path) -> list[Phantom]:
    """Read all files below a directory.

    Raises:
        ForeignFileError: one of them is no phantom of this project, or there is none.
        RuntimeError: pydicom is missing.
    """
    if PYDICOM_ERROR:
        raise RuntimeError(f"python3-pydicom is not installed on this host: {PYDICOM_ERROR}")
    if not directory.is_dir():
        raise ForeignFileError(f"{directory} is no directory on this machine")
    files = sorted(path for path in directory.rglob("*") if not path.is_dir())
    if not files:
        raise ForeignFileError(f"{directory} holds no file")
    phantoms = []
    refused = []
    for path in files:
        try:
            phantoms.append(read_phantom(path.read_bytes()))
        except ForeignFileError as error:
            refused.append(f"{path}: {error}")
    if refused:
        more = f" and {len(refused) - 3} more" if len(refused) > 3 else ""
        raise ForeignFileError(
            f"{len(refused)} of {len(files)} files are no phantom of this project: "
            f"{'; '.join(refused[:3])}{more}"
        )
    return phantoms


def made_phantoms(token: str, directory: Path) -> list[Phantom]:
    """Make the phantom that follows from a token, with files in an empty directory.

    Raises:
        RuntimeError: pydicom is missing or too old.
        ValueError: the token is none.
    """
    write_study(make_study(token, known=True), directory)
    return read_phantoms(directory)


def made_identified(token: str, directory: Path) -> Phantom:
    """Make one object of the patient whom KeyDB does not know, as it would come from a PACS.

    Raises:
        RuntimeError: pydicom is missing or too old.
        ValueError: the token is none.
    """
    study = make_study(token, known=False)
    write_object(study.datasets[0], directory / "0001.dcm")
    [phantom] = read_phantoms(directory)
    return phantom


def write_marked(phantom: Phantom, marks: Mapping[str, Any], path: Path) -> None:
    """Write a phantom with the marks of de-identification, which Orthanc asks of every object.

    Args:
        phantom: of this project, so that there is nobody to identify.
        marks: as the variable ``orthanc_required_marks``.
        path: the file.

    Raises:
        ValueError: no pseudonym can be made with the first of the prefixes.
    """
    dataset = dcmread(io.BytesIO(phantom.raw))
    token = str(dataset.PatientID)[len(PATIENT_PREFIX) :][:10]
    dataset.PatientID = dataset.PatientName = pseudonym_of(
        token, next(iter(marks["pseudonym_prefixes"]), "")
    )
    dataset.PatientIdentityRemoved = "YES"
    for method in list(marks["methods"])[:1]:
        dataset.DeidentificationMethod = f"{method}phantom"
    if marks["codes"]:
        dataset.DeidentificationMethodCodeSequence = [Dataset() for _ in marks["codes"]]
        for item, code in zip(dataset.DeidentificationMethodCodeSequence, marks["codes"]):
            item.CodeValue, item.CodingSchemeDesignator = code, "DCM"
            item.CodeMeaning = "Phantom"
    write_object(dataset, path)


def isolation_verdict(checks: Iterable[Mapping[str, Any]], log: str = "") -> str:
    """Return what the outcome means, in plain words.

    Args:
        checks: rows of the test, as `checks.Report` gives them.
        log: the last tasks and log lines of Orthanc, shown where Orthanc is at fault.
    """
    rows = list(checks)
    passed = {row["check"] for row in rows if row["passed"]}
    failed = [row for row in rows if not row["passed"]]
    words = []
    if {TAKEN, ANSWERS, FOUND} <= passed:
        words.append(
            "The phantom arrived in Orthanc without CTP. Where studies that come through CTP do "
            "not arrive, the issue is with CTP communicating with Orthanc: look at CTP's page and "
            "log, at ctp_orthanc_hostname, ctp_orthanc_port and ctp_orthanc_aet, and run "
            "playbooks/verify.yml, which tries that way."
        )
    elif TAKEN not in passed:
        words.append(
            "The phantom did NOT arrive in Orthanc, and CTP had no part in it: the issue is with"
            " Orthanc or with the network before it. Check whether its service runs, check the"
            " network configuration, and look for errors in Orthanc's log."
        )
    elif ANSWERS not in passed:
        words.append(
            "Orthanc took the phantom on its DICOM port, but its REST API does not answer, so that"
            " nobody can see what arrives. Check the network configuration, to be able to reach the"
            " machine at the port of Orthanc's web page, and Orthanc's log."
        )
    else:
        words.append(
            "Orthanc acknowledged the phantom and does not find it: the issue is with Orthanc."
            " Look for errors in its log, and at the free space of its directory."
        )
    if failed:
        words.append(
            "\n".join(f"- {row['where']}: {row['detail']} -> {row['remedy']}" for row in failed)
        )
        if log:
            words.append(log)
    return "\n\n".join(words)
