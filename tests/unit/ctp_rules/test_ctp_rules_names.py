"""Names of structures by the script, in the reading that the stand-in and the net have of it.

That stock CTP gives the same is for ``test_ctp_rules_against_ctp``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from io import BytesIO

import pydicom
import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import tg263
from ansible_collections.auscat.imaging.plugins.module_utils.ctp.script import ScriptOptions
from ctp_rules import names, reading, script
from ctp_rules.anonymizer import Anonymizer
from ctp_rules_names import (
    BY_THE_RULES,
    CLINICAL,
    CLINICAL_OWN,
    CLINICAL_STANDARD,
    HOSTILE,
    OLDER,
    numbered,
    segmentation,
    structure_set,
)
from ctp_rules_way import script_text
from pydicom.dataset import Dataset

STANDARD = ScriptOptions()
SITE = ScriptOptions(roi_names="listed", site_roi_names=["Dünndarm", "Hot spot", "95% (iso)"])
KEPT = ScriptOptions(roi_names="kept")


def left(content: bytes, options: ScriptOptions = STANDARD) -> Dataset:
    anonymizer = Anonymizer(script.parse(script_text(options)))
    table = {"PatientID/PAT-1|": "ANON-1"}
    result = anonymizer.run(reading.read(content), lambda k, v: table.get(f"{k}/{v}")).dataset
    stream = BytesIO()
    pydicom.dcmwrite(stream, result, implicit_vr=False, little_endian=True, force_encoding=True)
    return pydicom.dcmread(BytesIO(stream.getvalue()), force=True)


def names_of(dataset: Dataset) -> list[str]:
    return [str(each.get("ROIName")) for each in dataset.StructureSetROISequence]


def labels_of(dataset: Dataset) -> list[str]:
    return [
        str(each.get("ROIObservationLabel", "(none)")) for each in dataset.RTROIObservationsSequence
    ]


def called(number: int) -> str:
    return f"ROI {number}"


def test_the_names_are_those_of_the_worksheet() -> None:
    """Digests of the two columns, sorted, a name a line."""
    found = tg263.primary_names(), tg263.reverse_names()
    assert [len(set(each)) for each in found] == [717, 717]
    digests = [hashlib.sha256("\n".join(sorted(each)).encode()).hexdigest() for each in found]
    assert [digest[:16] for digest in digests] == ["93ee8a5b171f1423", "138562f7b51c4caa"]


@pytest.mark.parametrize(
    "stay", [tg263.primary_names(), tg263.reverse_names(), BY_THE_RULES, OLDER]
)
@pytest.mark.parametrize("change", [str, str.upper, str.lower])
def test_names_that_stay(stay: Iterable[str], change: type[str]) -> None:
    sent = [change(each) for each in stay]
    dataset = left(numbered(sent))
    assert names_of(dataset) == sent
    assert labels_of(dataset) == sent


@pytest.mark.parametrize("options", [STANDARD, SITE])
def test_a_name_that_could_be_anybodys_never_leaves(options: ScriptOptions) -> None:
    dataset = left(numbered(HOSTILE), options)
    expected = [called(number) for number in range(1, len(HOSTILE) + 1)]
    assert names_of(dataset) == expected
    assert labels_of(dataset) == expected
    segments = left(segmentation(HOSTILE), options).SegmentSequence
    assert [each.SegmentLabel for each in segments] == expected


def test_forty_names_are_forty_names() -> None:
    dataset = left(numbered(CLINICAL))
    found = names_of(dataset)
    assert len(CLINICAL) == len(set(CLINICAL)) == len(set(found)) == 40
    assert [name for name in found if name in CLINICAL] == CLINICAL_STANDARD
    assert found[24:] == [called(number) for number in range(25, 41)]
    assert set(CLINICAL_OWN).isdisjoint(found)


def test_the_sites_own_names_stay_whole() -> None:
    own = ["Dünndarm", "Hot spot", "95% (iso)", "hot SPOT"]
    others = ["Dunndarm", "Hot spot 2", "Hotspot", "95% (iso", "DÜNNDARM", "Hot spot Doe", "95"]
    found = names_of(left(numbered([*own, *others]), SITE))
    assert found == [*own, *(called(number) for number in range(5, 12))]
    assert names_of(left(numbered(own))) == [called(number) for number in range(1, 5)]
    without = ScriptOptions(roi_names="standard", site_roi_names=["Hot spot"])
    assert names_of(left(numbered(["Hot spot"]), without)) == ["ROI 1"]


def test_names_as_they_came_are_declared() -> None:
    dataset = left(numbered(["Doe^Jane", "Heart\nDoe", "H" * 65]), KEPT)
    assert names_of(dataset) == ["Doe^Jane", "ROI 2", "ROI 3"]
    assert "ROI names as they came" in dataset.DeidentificationMethod
    codes = [each.CodeValue for each in dataset.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113104"]  # nobody has cleaned anything: no 113105


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        # Padding is none of the name; blanks within it are.
        ([(b"1", b"Heart   "), (b"2", b"  Lung_L"), (b"3", b"Heart \0")], None),
        ([(b"7", b"Doe"), (b"+12", b"Roe"), (b"003", b"Poe")], ["ROI 7", "ROI +12", "ROI 003"]),
        ([(b"1", b""), (b"2", b"  ")], ["", ""]),
        # What is literally so is nothing else, and names nothing else.
        ([(b"3", b"Doe"), (b"5", b"ROI 3")], ["ROI 3", "ROI 5"]),
        # The same name twice was one name before.
        ([(b"1", b"Heart"), (b"2", b"Heart")], ["Heart", "Heart"]),
        ([(b"1", b"Doe"), (b"2", b"Doe")], ["ROI 1", "ROI 2"]),
    ],
)
def test_numbers_and_blanks(sent: list[tuple[bytes, bytes]], expected: list[str] | None) -> None:
    found = [name.strip() for name in names_of(left(structure_set(sent)))]
    assert found == (expected or [name.decode().strip(" \0") for _, name in sent])
    assert names.merged(pairs(sent, found)) is None


def pairs(sent: list[tuple[bytes, bytes]], found: list[str]) -> list[names.Named]:
    return [
        names.Named(
            (0x30060020, place, 0x30060026), number.decode(), name.decode().strip(" \0"), now
        )
        for place, ((number, name), now) in enumerate(zip(sent, found))
    ]


@pytest.mark.parametrize(
    "sent",
    [
        [(b"3", b"Doe"), (b"3", b"Roe")],
        [(b"", b"Doe"), (b"", b"Roe")],
        [(b"", b"Doe"), (b"1", b"x"), (b"", b"Roe")],
    ],
)
def test_what_cannot_be_told_apart_is_seen(sent: list[tuple[bytes, bytes]]) -> None:
    found = names_of(left(structure_set(sent)))
    assert set(found).isdisjoint({"Doe", "Roe"})
    assert names.merged(pairs(sent, found)) == (0x30060020,)


def test_a_name_and_a_label_of_one_item_are_not_told_apart() -> None:
    both = [
        names.Named((0x30060020, 0, 0x30060026), "1", "Doe", "ROI 1"),
        names.Named((0x30060020, 0, 0x00620005), "1", "Roe", "ROI 1"),
    ]
    assert names.merged(both) is None


def test_a_label_without_a_number_goes() -> None:
    labels = [(b"", b"Doe"), (b"1", b"Doe"), (b"", b"Heart"), (b"2", b"")]
    dataset = left(structure_set([(b"1", b"Doe")], labels))
    assert labels_of(dataset) == ["(none)", "ROI 1", "Heart", ""]
