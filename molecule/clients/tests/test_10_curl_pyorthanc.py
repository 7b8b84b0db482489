"""curl and pyorthanc: list, find, download; and a login that is wrong."""

from __future__ import annotations

import base64
import json
import ssl
import sys
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import httpx
import pydicom
import pytest
from conftest import Cohort, attempt, run
from pyorthanc import Orthanc, find_instances, find_patients
from shared.https import given
from shared.machines import Machine, Node
from shared.treatment import MARKS, Treatment

PYTHON = [sys.executable, "-"]


def check_study(archive: bytes, treatment: Treatment) -> None:
    """The archive holds the whole study, under the pseudonym and without a mark."""
    with ZipFile(BytesIO(archive)) as opened:
        contents = [opened.read(name) for name in opened.namelist()]
    datasets = [pydicom.dcmread(BytesIO(content)) for content in contents]
    modalities = Counter(dataset.Modality for dataset in datasets)
    assert modalities == {"CT": treatment.slices, "RTSTRUCT": 1, "RTPLAN": 1, "RTDOSE": 1}
    assert {str(dataset.PatientID) for dataset in datasets} == {treatment.pseudonym}
    sent = set(treatment.uids)
    assert not {str(dataset.SOPInstanceUID) for dataset in datasets} & sent
    for mark in (*MARKS, treatment.patient_id):
        assert not [content for content in contents if mark.encode() in content], mark


def exported(told: dict[str, str], node: Node, researcher: Machine) -> str:
    """What the researcher sets, where the CA is on the researcher's own machine."""
    there = {**told, "CURL_CA_BUNDLE": given(node, researcher)}
    return "".join(f"export {name}='{value}'\n" for name, value in there.items())


def test_example_with_curl(
    node: Node,
    researcher: Machine,
    cohort: Cohort,
    told: dict[str, str],
    example: Callable[[str], str],
) -> None:
    """On the researcher's own machine, which reaches nothing but Orthanc's page."""
    settings = exported(told, node, researcher)
    script = f"set -euo pipefail\ncd /root\n{settings}{example('curl.sh')}"
    printed = researcher.output("bash", stdin=script)
    found = {each["MainDicomTags"]["PatientID"] for each in json.loads(printed)}
    assert set(cohort.pseudonyms) <= found
    archive = researcher.output("base64", "--wrap=0", "/root/study.zip")
    check_study(base64.b64decode(archive), cohort.treatments[0])


def test_curl_with_a_wrong_password_is_refused(
    node: Node, researcher: Machine, told: dict[str, str], example: Callable[[str], str]
) -> None:
    settings = exported(told, node, researcher)
    script = f"set -euo pipefail\n{settings}ORTHANC_PASSWORD=wrong\n{example('curl.sh')}"
    refused = researcher.run("bash", stdin=script, check=False)
    assert refused.returncode == 22
    assert "401" in refused.stderr
    assert refused.stdout == ""


@pytest.mark.parametrize("number", range(3))
def test_example_with_pyorthanc(
    cohort: Cohort,
    told: dict[str, str],
    example: Callable[[str], str],
    tmp_path: Path,
    number: int,
) -> None:
    treatment = cohort.treatments[number]
    told = {**told, "PATIENT": treatment.pseudonym}
    printed = run(PYTHON, example("find_patients.py"), told, tmp_path).stdout.splitlines()
    for pseudonym in cohort.pseudonyms:
        assert f"{pseudonym} 1 study" in printed
    assert {f"CT {treatment.slices}", "RTSTRUCT 1", "RTPLAN 1", "RTDOSE 1"} <= set(printed)
    (archive,) = tmp_path.glob("*.zip")
    check_study(archive.read_bytes(), treatment)


def test_pyorthanc_finds_more_than_a_hundred_instances(
    cohort: Cohort, told: dict[str, str]
) -> None:
    """Orthanc's own limit would have cut the answer off without a word."""
    url = f"https://{told['ORTHANC_HOST']}:8042"
    context = ssl.create_default_context(cafile=told["SSL_CERT_FILE"])
    orthanc = Orthanc(url, told["ORTHANC_USER"], told["ORTHANC_PASSWORD"], verify=context)
    largest = max(cohort.treatments, key=lambda treatment: treatment.instances)
    assert largest.instances > 100
    found = find_instances(orthanc, {"PatientID": largest.pseudonym})
    assert len(found) == largest.instances
    assert not find_patients(orthanc, {"PatientID": largest.patient_id})


@pytest.mark.parametrize("login", [("researcher", "wrong"), ("nobody", "wrong"), ("", "")])
def test_pyorthanc_with_a_wrong_login_is_refused(
    told: dict[str, str], login: tuple[str, str]
) -> None:
    context = ssl.create_default_context(cafile=told["SSL_CERT_FILE"])
    orthanc = Orthanc(f"https://{told['ORTHANC_HOST']}:8042", *login, verify=context)
    with pytest.raises(httpx.HTTPError, match="HTTP code: 401"):
        orthanc.get_patients()


def test_example_with_a_wrong_password_says_so(
    told: dict[str, str], example: Callable[[str], str], tmp_path: Path
) -> None:
    told = {**told, "ORTHANC_PASSWORD": "wrong"}
    refused = attempt(PYTHON, example("find_patients.py"), told, tmp_path)
    assert refused.returncode == 1
    assert "HTTP code: 401" in refused.stderr
    assert not list(tmp_path.iterdir())
