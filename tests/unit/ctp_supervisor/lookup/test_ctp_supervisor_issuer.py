"""Who an object is of: stock CTP's own anonymizer with our script and table, and our reading of it.

The judge is CTP itself where a distribution is at hand (CTP_DISTRIBUTION, and Java with a
compiler). What the supervisor says of the same object in quarantine has to agree with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import script as ctp_script
from ctp_supervisor.dicom.part10 import read_header
from ctp_supervisor.engine.verify import LOOKUP, ONE_VALUE
from ctp_supervisor.held_back.quarantine import (
    KNOWN_PATIENT,
    OTHER_ISSUER,
    UNKNOWN_PATIENT,
    Quarantined,
)
from ctp_supervisor.lookup import keydb
from pydicom import config
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

ROWS = [
    ("PAT-1", "", "ANON-NONE"),
    ("PAT-1", "HOSP-A", "ANON-A"),
    ("PAT-1", "1.2.3", "ANON-OID"),
    ("PAT-1", "Klöster", "ANON-K"),
    ("PAT-2", "HOSP-A", "ANON-2"),
    ("PAT-3", "", "ANON-3"),
]
ISSUERS = ("", "HOSP-C")
NOBODY = ""


@dataclass(frozen=True)
class Case:
    """One object, as bytes, and whose it is."""

    expected: str
    """Pseudonym; nothing: held back."""
    reason: str = KNOWN_PATIENT
    """Of the supervisor, did it lie in quarantine."""
    patient_id: bytes = b"PAT-1"
    issuer: bytes | None = None
    vr: str = "LO"
    universal: str | None = None
    characters: str | None = None
    implicit: bool = False


CASES = {
    "none": Case("ANON-NONE"),
    "empty": Case("ANON-NONE", issuer=b""),
    "blank": Case("ANON-NONE", issuer=b"    "),
    "nul": Case("ANON-NONE", issuer=b"\0\0"),
    "the enrolled one": Case("ANON-A", issuer=b"HOSP-A"),
    "implicit": Case("ANON-A", issuer=b"HOSP-A", implicit=True),
    "blanks around": Case("ANON-A", issuer=b"  HOSP-A  "),
    "padded with nul": Case("ANON-A", issuer=b"HOSP-A\0\0"),
    "as UN": Case("ANON-A", issuer=b"HOSP-A", vr="UN"),
    "patient padded with nul": Case("ANON-A", patient_id=b"PAT-1\0", issuer=b"HOSP-A"),
    "patient with blanks": Case("ANON-A", patient_id=b"  PAT-1 ", issuer=b"HOSP-A"),
    "latin 1": Case("ANON-K", issuer="Klöster".encode("latin-1"), characters="ISO_IR 100"),
    "utf-8": Case("ANON-K", issuer="Klöster".encode(), characters="ISO_IR 192"),
    "universal": Case("ANON-OID", universal="1.2.3"),
    "universal beside an empty one": Case("ANON-OID", issuer=b"", universal="1.2.3"),
    "both": Case("ANON-A", issuer=b"HOSP-A", universal="9.9"),
    "listed": Case("ANON-3", patient_id=b"PAT-3", issuer=b"HOSP-C"),
    "another": Case(NOBODY, OTHER_ISSUER, issuer=b"HOSP-B"),
    "another, implicit": Case(NOBODY, OTHER_ISSUER, issuer=b"HOSP-B", implicit=True),
    "another, as UN": Case(NOBODY, OTHER_ISSUER, issuer=b"HOSP-B", vr="UN"),
    "another, as SH": Case(NOBODY, OTHER_ISSUER, issuer=b"HOSP-B", vr="SH"),
    "another, not listed": Case(NOBODY, OTHER_ISSUER, patient_id=b"PAT-3", issuer=b"HOSP-A"),
    "lower case": Case(NOBODY, OTHER_ISSUER, issuer=b"hosp-a"),
    "universal of another": Case(NOBODY, OTHER_ISSUER, universal="9.9"),
    "none where one is enrolled": Case(NOBODY, OTHER_ISSUER, patient_id=b"PAT-2"),
    "two": Case(NOBODY, OTHER_ISSUER, issuer=b"HOSP-A\\HOSP-B"),
    "a backslash": Case(NOBODY, OTHER_ISSUER, issuer=b"HOSP\\-A"),
    "universal with a backslash": Case(NOBODY, OTHER_ISSUER, universal="1.2\\.3"),
    "universal behind a backslash": Case(NOBODY, OTHER_ISSUER, universal="\\1.2.3"),
    "universal behind a blank": Case(NOBODY, OTHER_ISSUER, universal=" 1.2.3"),
    "behind a tab": Case(NOBODY, OTHER_ISSUER, issuer=b"\tHOSP-A"),
    "before a tab": Case("ANON-A", issuer=b"HOSP-A\t"),
    "a backslash as universal": Case(NOBODY, OTHER_ISSUER, universal="\\"),
    "the other one's characters": Case(
        NOBODY, OTHER_ISSUER, issuer="Klöster".encode(), characters="ISO_IR 100"
    ),
    "both in the PatientID": Case(NOBODY, UNKNOWN_PATIENT, patient_id=b"PAT-1|HOSP-A"),
    "unknown": Case(NOBODY, UNKNOWN_PATIENT, patient_id=b"PAT-9", issuer=b"HOSP-A"),
}


@pytest.fixture(scope="module", autouse=True)
def _as_it_comes() -> None:
    config.settings.writing_validation_mode = config.IGNORE


def write(case: Case, path: Path) -> None:
    """Write the object with its values as bytes."""
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID, dataset.StudyInstanceUID = generate_uid(), generate_uid()
    dataset.PatientName = "Doe^Jane"
    if case.characters:
        dataset.SpecificCharacterSet = case.characters
    if case.universal is not None:
        item = Dataset()
        item.UniversalEntityID, item.UniversalEntityIDType = case.universal, "ISO"
        dataset.IssuerOfPatientIDQualifiersSequence = [item]
    for tag, vr, value in ((0x00100020, "LO", case.patient_id), (0x00100021, case.vr, case.issuer)):
        if value is not None:
            padded = value + b" " * (len(value) % 2)
            dataset[tag] = RawDataElement(Tag(tag), vr, len(padded), padded, 0, case.implicit, True)
    dataset.file_meta = FileMetaDataset()
    syntax = ImplicitVRLittleEndian if case.implicit else ExplicitVRLittleEndian
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(path, enforce_file_format=True)


TABLE = keydb.table(ROWS, ("ANON-",), False, ISSUERS)


@pytest.mark.parametrize("name", CASES)
def test_the_supervisor_knows_why(tmp_path: Path, name: str) -> None:
    path = tmp_path / "object.dcm"
    write(CASES[name], path)
    header = read_header(path)
    assert header is not None
    held = Quarantined(0, 1, "anonymizer", path, "1", header.patient_id, 0.0, header.issuer)
    assert held.reason(keydb.Patients(TABLE.pseudonyms)) == CASES[name].reason


def test_the_script_and_who_judges_it_agree() -> None:
    assert ctp_script.LOOKUP == LOOKUP
    assert ctp_script.ctp_terms.PATTERNS["ONE_VALUE"] == ONE_VALUE


@pytest.fixture(scope="module")
def ctp(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """What stock CTP makes of all of them: result and PatientID by the name of the case."""
    distribution = os.environ.get("CTP_DISTRIBUTION", "")
    jars = sorted(Path(distribution).glob("CTP/libraries/**/*.jar")) if distribution else []
    if not jars or not shutil.which("javac"):
        pytest.skip("no CTP_DISTRIBUTION that is a directory with CTP/, or no Java compiler")
    directory = tmp_path_factory.mktemp("ctp")
    script, table = directory / "script.xml", directory / "table.properties"
    script.write_text(ctp_script.anonymizer_script(ctp_script.ScriptOptions()))
    table.write_text(TABLE.properties())
    names = {f"{number:02}.dcm": name for number, name in enumerate(CASES)}
    for file, name in names.items():
        write(CASES[name], directory / file)
    path = ":".join(map(str, jars))
    source = Path(__file__).with_name("Anonymize.java")
    subprocess.run(
        ["javac", "-cp", path, "-d", str(directory), str(source)], check=True, capture_output=True
    )
    command = ["java", "-Djava.awt.headless=true", "-cp", f"{path}:{directory}", "Anonymize"]
    command += [str(script), str(table), str(directory / "out.dcm")]
    command += [str(directory / file) for file in names]
    run = subprocess.run(command, capture_output=True, text=True, cwd=directory, timeout=120)
    assert run.returncode == 0, run.stderr[-2000:]
    lines = [line.split(" ") for line in run.stdout.splitlines() if line.startswith("RESULT")]
    return {names[file]: (result, patient_id) for _, file, result, patient_id in lines}


@pytest.mark.stock_ctp
@pytest.mark.parametrize("name", CASES)
def test_ctp_lets_it_through_as_whose_it_is(ctp: dict[str, tuple[str, str]], name: str) -> None:
    expected = CASES[name].expected
    assert ctp[name] == (("ok", expected) if expected else ("quarantine", ""))
