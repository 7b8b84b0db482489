"""The interpreter and stock CTP, side by side: the same objects, the same script, no difference.

CTP's own anonymizer class is run (``Anonymize.java``), so this needs the distribution that
``CTP_DISTRIBUTION`` names, or the one in the cache directory, and a JDK.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pydicom
import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import tg263
from ansible_collections.auscat.imaging.plugins.module_utils.ctp.script import ScriptOptions
from ansible_collections.auscat.imaging.plugins.module_utils.proof import phantom
from ctp_rules import comparison, reading, script
from ctp_rules.anonymizer import Anonymizer, QuarantineError, Refusal, path_text
from ctp_rules_names import (
    BY_THE_RULES,
    CLINICAL,
    CLINICAL_STANDARD,
    HOSTILE,
    OLDER,
    numbered,
    segmentation,
    structure_set,
)
from ctp_rules_objects import BIG, IMPLICIT, kinds, noise
from ctp_rules_stock import Ctp
from ctp_rules_way import OPTIONS, script_text

REPOSITORY = Path(__file__).resolve().parents[3]
# What the wheel brings; the library would download others.
WHEEL = Path(pydicom.__file__).parent / "data/test_files"
pytestmark = pytest.mark.stock_ctp
# CTP writes the pixels of a deflated object behind the deflated part, where no reader finds them.
DEFLATED = "1.2.840.10008.1.2.1.99"


def compare(
    ctp: Ctp,
    options: ScriptOptions,
    objects: Mapping[str, bytes],
    table: Mapping[str, str],
    to: Path,
) -> int:
    """Compare all objects, element by element; return how many left both.

    What the interpreter cannot read it holds back, whatever CTP does with it.
    """
    text = script_text(options)
    anonymizer = Anonymizer(script.parse(text))
    differences = []
    both = 0
    for (name, content), left in zip(objects.items(), ctp.run(text, table, objects.values(), to)):
        source = reading.read(content)
        try:
            outcomes = anonymizer.run(source, lambda k, v: table.get(f"{k}/{v}")).outcomes
        except QuarantineError as error:
            if left is not None and error.refusal is not Refusal.UNREADABLE:
                differences.append(f"{name}: only CTP lets it through ({error})")
            continue
        if left is None:
            # CTP fails over some items of big endian objects, also in sequences that the script
            # removes; nothing that is big endian leaves the supervisor, so nothing is lost by it.
            if source.file_meta.TransferSyntaxUID != BIG:
                differences.append(f"{name}: only CTP keeps it back")
            continue
        both += 1
        pixels = source.file_meta.TransferSyntaxUID != DEFLATED
        differences += [
            f"{name}: {path_text(each.path)} {each.kind.value} {each.action}"
            for each in comparison.differences(outcomes, reading.read(left), pixels)
        ]
    assert differences == []
    return both


@pytest.fixture(scope="module")
def field_and_noise() -> dict[str, bytes]:
    known = script.parse(script_text(OPTIONS["full"])).rules
    # The table knows only patients without an issuer; and the library decodes Pixel Representation
    # for itself, so that a text there becomes a number.
    without = (0x00100021, 0x00100024, 0x00280103)
    tags = [tag for tag in known if 0x00080000 < tag < 0x7FDE0000 and tag not in without]
    return dict([*kinds(), *noise(tags, 1947, 60)])


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_kinds_from_the_field_and_noise(
    ctp: Ctp, field_and_noise: dict[str, bytes], options: ScriptOptions, tmp_path: Path
) -> None:
    table = {"PatientID/PAT-1|": "ANON-1", "DateShift/PAT-1": "-17"}
    assert compare(ctp, options, field_and_noise, table, tmp_path) > 150


def test_names_of_structures(ctp: Ctp, tmp_path: Path) -> None:
    """CTP itself keeps what has to stay and tells the rest apart, and both readings agree."""
    site = ["Dünndarm", "Hot spot", "95% (iso)"]
    stay = [*tg263.primary_names(), *tg263.reverse_names(), *BY_THE_RULES, *OLDER, *site]
    odd = [(b"", b"Doe"), (b"", b"Heart"), (b"7", b"ROI 3"), (b"+8", b"Doe"), (b"9", b"  Lung_L ")]
    objects = {
        "stay": numbered(stay),
        "stay, implicit": numbered(stay, IMPLICIT),
        "hostile": numbered(HOSTILE),
        "hostile segments": segmentation(HOSTILE),
        "clinical": numbered(CLINICAL),
        "odd": structure_set(odd, [*odd, (b"1", b""), (b"2", b"Doe")]),
    }
    options = ScriptOptions(roi_names="listed", site_roi_names=site)
    table = {"PatientID/PAT-1|": "ANON-1"}
    assert compare(ctp, options, objects, table, tmp_path) == len(objects)
    left = [pydicom.dcmread(tmp_path / f"{number}.left") for number in range(len(objects))]

    def names(number: int) -> list[str]:
        return [str(each.ROIName).strip() for each in left[number].StructureSetROISequence]

    assert names(0) == names(1) == stay
    assert [each.ROIObservationLabel for each in left[0].RTROIObservationsSequence] == stay
    called = [f"ROI {number}" for number in range(1, len(HOSTILE) + 1)]
    assert names(2) == called
    assert [each.SegmentLabel for each in left[3].SegmentSequence] == called
    assert len(set(names(4))) == len(CLINICAL) == 40
    assert [name for name in names(4) if name in CLINICAL_STANDARD] == CLINICAL_STANDARD
    assert names(5) == ["ROI", "Heart", "ROI 7", "ROI +8", "Lung_L"]


def test_the_phantom(ctp: Ctp, tmp_path: Path) -> None:
    study = phantom.make_study("1234567890", True, ct_instances=4, issuer="")
    files = phantom.write_study(study, tmp_path)
    objects = {path.name: path.read_bytes() for path in files}
    table = {f"PatientID/{study.patient_id}|": "ANON-1"}
    assert compare(ctp, OPTIONS["strict"], objects, table, tmp_path) == len(files)


def test_a_mark_in_every_element_of_the_dictionary(ctp: Ctp, tmp_path: Path) -> None:
    flood = REPOSITORY / "tests/marks/flood.py"
    made = tmp_path / "flood"
    subprocess.run([sys.executable, flood, "write", made, "MARK42"], check=True)
    objects = {path.name: path.read_bytes() for path in sorted(made.glob("*.dcm"))}
    found = [pydicom.dcmread(path) for path in made.glob("*.dcm")]
    table = {f"PatientID/{d.PatientID}|{d.get('IssuerOfPatientID', '')}": "ANON-1" for d in found}
    assert compare(ctp, OPTIONS["strict"], objects, table, tmp_path) == len(objects) > 10


@pytest.fixture(scope="module")
def of_many_makers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Those in pydicom's wheel that have a header, each as it is and with a known patient."""
    again = tmp_path_factory.mktemp("makers") / "again"
    objects: dict[str, bytes] = {}
    for name in sorted(WHEEL.rglob("*.dcm")):
        content = name.read_bytes()
        if content[128:132] != b"DICM":
            continue  # it cannot come over the network either
        dataset = reading.read(content)
        if "SOPClassUID" not in dataset or "TransferSyntaxUID" not in dataset.file_meta:
            continue  # nor can it without these
        objects[name.name] = content
        try:
            dataset.PatientID = "PAT-1"
            # Many are captures: of a device that is declared.
            dataset.Manufacturer, dataset.ManufacturerModelName = "AusCAT", "Flood"
            dataset.save_as(again)
        except (TypeError, ValueError, pydicom.errors.InvalidDicomError):
            continue  # the library cannot write what it read
        objects[f"{name.name} of PAT-1"] = again.read_bytes()
    return objects


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_files_of_many_makers(
    ctp: Ctp, of_many_makers: dict[str, bytes], options: ScriptOptions, tmp_path: Path
) -> None:
    table = {"PatientID/PAT-1|": "ANON-1", "DateShift/PAT-1": "-17"}
    assert compare(ctp, options, of_many_makers, table, tmp_path) > 60
