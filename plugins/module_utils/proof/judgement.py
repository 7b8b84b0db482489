"""The proof's judgement: what was sent is compared with what arrived, and every finding is a row.

Pure functions over datasets, bytes and text; `clients` holds what talks to the services.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.auscat.imaging.plugins.module_utils.ctp import script
from ansible_collections.auscat.imaging.plugins.module_utils.proof import pixel_text, ps3_15_e1_1
from ansible_collections.auscat.imaging.plugins.module_utils.proof.checks import Report
from ansible_collections.auscat.imaging.plugins.module_utils.proof.marks import describe_tag
from ansible_collections.auscat.imaging.plugins.module_utils.proof.phantom import (
    CT,
    SOP_CLASS_NAMES,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.studies import (
    TIME_OF_STUDY,
    TOKEN_ALONE,
    Lettered,
    Study,
    find_marks,
    walk,
)

try:
    from pydicom import dcmread
    from pydicom.dataset import Dataset
except ImportError:  # phantom.make_study says so before anything here is needed.
    pass

# Of what arrived, this many objects are read and this many frames of each, evenly spread: OCR is
# slow. All of them are compared with what was sent, byte for byte, in another row.
READ_OBJECTS, READ_FRAMES = 12, 3

_BLANK = 0
"""What the supervisor leaves in the regions of a MONOCHROME2 image (docs/ctp.md, Pixels)."""
_CLEANED = "113101"
"""Clean Pixel Data Option (PS3.16 CID 7050)."""

# Elements that must arrive with the value that was sent: without them images, structures, dose and
# plan no longer fit each other.
_KEPT = """
    BeamMeterset BitsAllocated BitsStored Columns ContourData ContourGeometricType
    CumulativeMetersetWeight DoseGridScaling DoseSummationType DoseType DoseUnits GantryAngle
    GridFrameOffsetVector HighBit ImageOrientationPatient ImagePositionPatient IsocenterPosition
    LeafJawPositions Modality NominalBeamEnergy NumberOfContourPoints NumberOfFractionsPlanned
    NumberOfFrames PatientPosition PhotometricInterpretation PixelRepresentation PixelSpacing
    ROINumber RTROIInterpretedType ReferencedBeamNumber ReferencedROINumber RescaleIntercept
    RescaleSlope Rows SliceThickness
"""
KEPT_ELEMENTS = frozenset(_KEPT.split())


@dataclass(frozen=True)
class Arrived:
    """One object as it arrived.

    Attributes:
        name: what it is called in the report, such as ``CT 3``.
        raw: the file.
        dataset: the file, read.
    """

    name: str
    raw: bytes
    dataset: Dataset


def read_arrived(files: Mapping[str, bytes]) -> tuple[list[Arrived], list[str]]:
    """Read files that arrived.

    Args:
        files: content of each file by the name under which it lies where it arrived.

    Returns:
        The objects, CT first, along the z axis; and what could not be read.
    """
    read: list[tuple[tuple[int, float, str], bytes, Dataset]] = []
    problems = []
    order = list(SOP_CLASS_NAMES)
    for name, raw in files.items():
        try:
            with warnings.catch_warnings():
                # Odd values are findings below, not lines on standard error.
                warnings.simplefilter("ignore")
                dataset: Dataset = dcmread(io.BytesIO(raw))
                for _ in walk(dataset):  # pydicom reads elements when they are asked for
                    pass
        except Exception as error:  # whatever a broken file makes pydicom raise
            problems.append(f"{name} cannot be read as DICOM ({type(error).__name__})")
            continue
        sop_class = str(dataset.get("SOPClassUID", ""))
        rank = order.index(sop_class) if sop_class in order else len(order)
        position = _numbers(dataset.get("ImagePositionPatient"))
        height = position[2] if len(position) == 3 else 0.0
        read.append(((rank, height, name), raw, dataset))
    arrived = []
    counts: dict[str, int] = {}
    for _, raw, dataset in sorted(read, key=lambda entry: entry[0]):
        kind = SOP_CLASS_NAMES.get(str(dataset.get("SOPClassUID", "")), "other object")
        counts[kind] = counts.get(kind, 0) + 1
        arrived.append(Arrived(f"{kind} {counts[kind]}", raw, dataset))
    return arrived, problems


def _numbers(value: Any) -> list[float]:
    """Return the numbers of an element's value, or nothing where it holds none."""
    return [entry for entry in _comparable(value) if isinstance(entry, float)]


def _comparable(value: Any) -> list[Any]:
    """Return a value in a form in which 1, 1.0 and "1.000" are equal."""
    if value is None or value == "":
        return []
    if isinstance(value, str) or not isinstance(value, Sequence):
        value = [value]
    plain: list[Any] = []
    for entry in value:
        try:
            plain.append(round(float(entry), 6))
        except (TypeError, ValueError):
            plain.append(str(entry))
    return plain


def _bytes_of(element: Any) -> bytes:
    """Return the value of an element that is no sequence, as bytes to search."""
    value = element.value
    if value is None or element.VR == "SQ":
        return b""
    if isinstance(value, bytes):
        return value
    # A PersonName can be iterated over too, letter by letter.
    if isinstance(value, str) or not isinstance(value, Sequence):
        return str(value).encode("utf-8", "replace")
    return "\n".join(str(entry) for entry in value).encode("utf-8", "replace")


def _partner(sent: Dataset, arrived: Sequence[Arrived]) -> Arrived | None:
    """Return what a sent object has become: by SOP Class, and a CT slice by its position."""
    candidates = [
        entry for entry in arrived if entry.dataset.get("SOPClassUID") == sent.SOPClassUID
    ]
    if sent.SOPClassUID != CT:
        return candidates[0] if candidates else None
    position = _numbers(sent.ImagePositionPatient)
    for entry in candidates:
        if _numbers(entry.dataset.get("ImagePositionPatient")) == position:
            return entry
    return None


def _names(study: Study) -> list[str]:
    counts: dict[str, int] = {}
    names = []
    for sent in study.datasets:
        kind = SOP_CLASS_NAMES[str(sent.SOPClassUID)]
        counts[kind] = counts.get(kind, 0) + 1
        names.append(f"{kind} {counts[kind]}")
    return names


def completeness_problems(study: Study, arrived: Sequence[Arrived]) -> list[str]:
    """Compare how many objects of each SOP Class arrived, and that they make one study."""
    problems = []
    kinds: dict[str, list[int]] = {}
    for column, uids in enumerate(
        (
            [sent.SOPClassUID for sent in study.datasets],
            [entry.dataset.get("SOPClassUID", "") for entry in arrived],
        )
    ):
        for uid in uids:
            kinds.setdefault(str(uid), [0, 0])[column] += 1
    for uid, (sent_count, arrived_count) in kinds.items():
        if sent_count != arrived_count:
            name = SOP_CLASS_NAMES.get(uid, f"objects of SOP Class {uid or '(none)'}")
            problems.append(f"{name}: {sent_count} sent, {arrived_count} arrived")
    if len({str(entry.dataset.get("SOPInstanceUID")) for entry in arrived}) != len(arrived):
        problems.append("two objects have the same SOP Instance UID")
    studies = {str(entry.dataset.get("StudyInstanceUID")) for entry in arrived}
    if len(studies) > 1:
        problems.append(f"the objects lie in {len(studies)} studies instead of one")
    return problems


def _grouped(findings: Iterable[tuple[str, str]]) -> list[str]:
    """Say once what was found in several objects: (object, finding) becomes one line a finding."""
    objects: dict[str, dict[str, None]] = {}
    for name, finding in findings:
        objects.setdefault(finding, {})[name] = None
    lines = []
    for finding, names in objects.items():
        first, *others = names
        more = f" and {len(others)} more" if others else ""
        lines.append(f"{first}{more}: {finding}")
    return lines


def pseudonym_problems(study: Study, arrived: Sequence[Arrived]) -> list[str]:
    """Check that PatientID and PatientName are the pseudonym in every object."""
    findings = []
    for entry in arrived:
        for keyword in ("PatientID", "PatientName"):
            value = str(entry.dataset.get(keyword, ""))
            if value != study.pseudonym:
                findings.append((entry.name, f"{keyword} is {value!r}, not {study.pseudonym!r}"))
    return _grouped(findings)


def declaration_problems(arrived: Sequence[Arrived]) -> list[str]:
    """Check that (0012,0062) Patient Identity Removed is YES (PS3.15 E.1.1) in every object."""
    return _grouped(
        (entry.name, f"(0012,0062) is {value!r}")
        for entry in arrived
        if (value := str(entry.dataset.get("PatientIdentityRemoved", ""))) != "YES"
    )


def private_problems(arrived: Sequence[Arrived]) -> list[str]:
    """Return every private element (PS3.5 7.8), at all levels and in the file meta information."""
    return _grouped(
        (entry.name, path)
        for entry in arrived
        for path, element in [*walk(entry.dataset), *walk(entry.dataset.file_meta)]
        if element.tag.is_private or 0x00020100 <= element.tag <= 0x00020102
    )


@dataclass(frozen=True)
class Retained:
    """What the options that a site declares let an object keep (PS3.15 E.3), and nothing else.

    Attributes:
        keywords: attributes that keep their values.
        dates: ``none``, ``full`` or ``shifted``; shifted dates keep their time of day.
    """

    keywords: frozenset[str] = frozenset()
    dates: str = "none"

    @classmethod
    def by(cls, options: Mapping[str, Any]) -> Retained:
        """Return what follows from ctp_deidentification, a preset in it included."""
        options = script.resolved(options)
        columns = {
            ps3_15_e1_1.PATIENT_CHARACTERISTICS: options.get("retain_patient_characteristics"),
            ps3_15_e1_1.DEVICE_IDENTITY: options.get("retain_device_identity"),
        }
        return cls(
            frozenset(
                row.keyword
                for row in ps3_15_e1_1.attributes().values()
                if any(wished and column in row.options for column, wished in columns.items())
            ),
            str(options.get("longitudinal", "none")),
        )

    def allows(self, place: str, keyword: str | None = None, vr: str | None = None) -> bool:
        """Tell whether the mark that was put in a place may stand in an element.

        Args:
            place: where the mark was put, as `find_marks` tells it.
            keyword: of the element in which it was found; None where that is not known.
            vr: its value representation; None where that is not known.
        """
        if place == TIME_OF_STUDY:
            return self.dates != "none" and vr in (None, "TM", "DT")
        if place == TOKEN_ALONE:
            # A number carries nothing but the token, so where it was put is where it stands.
            return keyword in self.keywords
        if place.startswith("the "):
            return self.dates == "full" and "birth" not in place and vr in (None, "DA", "DT")
        # "Sequence (gggg,eeee) > Keyword (gggg,eeee)"
        marked = place.rpartition(" > ")[2].partition(" (")[0]
        return marked in self.keywords and keyword in (None, marked)


def mark_problems(
    study: Study,
    arrived: Sequence[Arrived],
    records: Mapping[str, str],
    retained: Retained | None = None,
) -> list[str]:
    """Search everything that arrived for what identifies the patient.

    Args:
        study: the study as sent; the marks of a proof are the same for both of its patients.
        arrived: the objects: each file's bytes and each decoded element at all levels.
        records: further text by its name, such as what Orthanc's index tells of the study.
        retained: what may be left in it; without it, nothing.
    """
    retained = retained or Retained()
    findings: list[tuple[str, str]] = []
    time_of_day = study.time[:6].encode()
    for entry in arrived:
        explained: set[str] = set()
        for path, element in [*walk(entry.dataset), *walk(entry.dataset.file_meta)]:
            data = _bytes_of(element)
            places = find_marks(data, study)
            start = {"TM": 0, "DT": 8}.get(str(element.VR))
            if not places and start is not None and data[start : start + 6] == time_of_day:
                places = [TIME_OF_STUDY]
            explained.update(places)
            findings += [
                (entry.name, f"{path} {_leak(path, place)}")
                for place in places
                if not retained.allows(place, element.keyword, str(element.VR))
            ]
        # Preamble, padding, and what a reader skips: in the file, but in no element.
        where = "a part of the file that is no element"
        hidden = set(find_marks(entry.raw, study)) - explained
        findings += [(entry.name, f"{where} {_leak('', place)}") for place in sorted(hidden)]
    for name, text in records.items():
        findings += [
            (name, _leak("", place))
            for place in find_marks(text.encode(), study)
            if not retained.allows(place)
        ]
    return _grouped(findings)


def _leak(path: str, place: str) -> str:
    if place.startswith("the "):
        return f"holds {place}"
    # The path has item numbers, the place where the mark was put has none.
    return "still holds its mark" if place in path else f"holds the mark put in {place}"


def pixel_problems(study: Study, arrived: Sequence[Arrived]) -> list[str]:
    """Compare pixel data, byte for byte (uncompressed little endian, as sent)."""
    problems = []
    for name, sent in zip(_names(study), study.datasets):
        if "PixelData" not in sent:
            continue
        partner = _partner(sent, arrived)
        if partner is None:
            problems.append(f"{name}: nothing that arrived has its position")
            continue
        syntax = partner.dataset.file_meta.TransferSyntaxUID
        if syntax.is_compressed or not syntax.is_little_endian:
            problems.append(
                f"{name} arrived as {syntax.name}, which cannot be compared with what was sent"
            )
        elif partner.dataset.get("PixelData") != sent.PixelData:
            problems.append(f"{name}: the pixel data differ from what was sent")
    return problems


def geometry_problems(study: Study, arrived: Sequence[Arrived]) -> list[str]:
    """Compare the elements that place images, structures, dose and plan (`KEPT_ELEMENTS`)."""
    problems = []
    for name, sent, elements in zip(_names(study), study.datasets, study.elements):
        partner = _partner(sent, arrived)
        if partner is None:
            problems.append(f"{name}: no object with its position arrived")
            continue
        there = {path: element.value for path, element in walk(partner.dataset)}
        for path, element in elements:
            if element.keyword not in KEPT_ELEMENTS:
                continue
            if _comparable(element.value) != _comparable(there.get(path)):
                state = "changed" if path in there else "missing"
                problems.append(f"{name}: {path} is {state}")
    return problems


def reference_problems(study: Study, arrived: Sequence[Arrived]) -> tuple[list[str], int]:
    """Check that the study's references still lead to what they led to when it was sent.

    Every UID by which one object of the study names another (or its series, study or frame of
    reference) must have become the UID that the other arrived with: a contour must name the slice
    on which it lies, not just any.

    Returns:
        What does not resolve, and the number of references looked at.
    """
    problems = []
    became: dict[str, str] = {}
    meaning: dict[str, str] = {}
    pairs = []
    own = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID")
    for name, sent in zip(_names(study), study.datasets):
        partner = _partner(sent, arrived)
        pairs.append((name, partner))
        for keyword in own:
            uid = str(sent[keyword].value)
            meaning.setdefault(uid, name if keyword == "SOPInstanceUID" else keyword)
            if partner is not None:
                became.setdefault(uid, str(partner.dataset.get(keyword, "")))
    count = 0
    for (name, partner), elements in zip(pairs, study.elements):
        there = {}
        if partner is not None:
            there = {path: str(element.value) for path, element in walk(partner.dataset)}
        for path, element in elements:
            uid = str(element.value) if element.VR == "UI" else ""
            if uid not in meaning or path == describe_tag(0x00080018):
                continue
            count += 1
            target = meaning[uid]
            if partner is None:
                problems.append(f"{name} did not arrive")
                break
            if uid not in became:
                problems.append(f"{name}: {path} names {target}, which did not arrive")
            elif path not in there:
                problems.append(f"{name}: {path} is missing (it named {target})")
            elif there[path] != became[uid] or not there[path]:
                problems.append(f"{name}: {path} no longer leads to {target}")
    return problems, count


def judge_study(
    study: Study,
    arrived: Sequence[Arrived],
    records: Mapping[str, str],
    report: Report,
    retained: Retained | None = None,
) -> None:
    """Add the rows about the known patient's study; see `mark_problems`."""
    own, _ = set_apart(study, arrived)
    report.add(
        "The known patient's study arrived complete",
        completeness_problems(study, own),
        f"{len(own)} objects: {_counts(own)}",
        "Look at CTP's page, queue and log for the objects that are missing.",
    )
    if not arrived:
        return
    report.add(
        "It stands under the pseudonym",
        pseudonym_problems(study, arrived),
        f"PatientID and PatientName are {study.pseudonym}",
        "CTP must write KeyDB's pseudonym into PatientID and PatientName: see its anonymizer script"
        " and lookup.",
    )
    report.add(
        "No identifying mark is left in it",
        mark_problems(study, arrived, records, retained),
        f"{len(study.texts)} texts, {len(study.uids)} UIDs, dates and times searched for in"
        f" {len(arrived)} files, their elements and Orthanc's index",
        "CTP lets identifying elements through. Stop sending patients to it until its anonymizer"
        " script removes them (PS3.15 Table E.1-1 and everything that it does not list).",
    )
    report.add(
        "No private element is left in it",
        private_problems(arrived),
        "none at any level",
        "CTP's anonymizer must remove private groups at every level.",
    )
    report.add(
        "It says that it is de-identified",
        declaration_problems(arrived),
        "(0012,0062) Patient Identity Removed is YES in every object",
        "CTP's anonymizer must set (0012,0062) to YES.",
    )
    report.add(
        "Its pixel data are as sent",
        pixel_problems(study, own),
        "equal byte for byte",
        "Neither CTP nor Orthanc may change or transcode pixel data; see Orthanc's "
        "IngestTranscoding.",
    )
    report.add(
        "Its geometry is as sent",
        geometry_problems(study, own),
        "positions, contours, dose grid and beam are unchanged",
        "CTP's anonymizer must keep these elements.",
    )
    problems, count = reference_problems(study, own)
    report.add(
        "References between its objects resolve",
        problems,
        f"{count} references, each to the object that it meant",
        "CTP's anonymizer must map UIDs at every level, equal ones to equal ones.",
    )


def judge_pixels(study: Study, arrived: Sequence[Arrived], report: Report) -> None:
    """Add the rows about the images with a name in their pixels, and about the name itself."""
    own, declared = set_apart(study, arrived)
    if study.blanked:
        small = [each.what for each in study.blanked if not each.words]
        seen = f"{len(declared)} images: black in their regions, equal byte for byte elsewhere"
        if small:
            seen += f"; without a name, for which there is no room: {', '.join(small)}"
        if study.too_large:
            seen += f"; too large to be sent: {', '.join(study.too_large)}"
        report.add(
            "Regions that the site declares arrive blank, and the rest of the image as sent",
            blanking_problems(study, declared),
            seen,
            "The supervisor must blank what ctp_pixel_rules declares, and nothing else. Stop"
            " sending images of these devices; look at CTP's page and log (docs/ctp.md, Pixels).",
        )
    report.attempt(
        "No name can be read in the pixels of what arrived",
        "An image with a name in its pixels came through: stop sending patients to the node, and"
        " look at ctp_pixel_rules (docs/ctp.md, Pixels). Where the pixels could not be read, run"
        " site.yml, which installs the packages of verify_packages.",
        lambda: read_problems(study, own, declared),
    )


def set_apart(
    study: Study, arrived: Sequence[Arrived]
) -> tuple[list[Arrived], dict[str, list[Arrived]]]:
    """Tell images of declared devices from the study itself.

    Returns:
        The objects of the study, with all that was not expected; and what has become of the images
        by `Lettered.what`. They are known by their class, size and Instance Number.
    """

    def key(dataset: Dataset) -> tuple[str, ...]:
        keywords = ("SOPClassUID", "InstanceNumber", "Rows", "Columns")
        return tuple(str(dataset.get(keyword, "")) for keyword in keywords)

    expected = {key(each.dataset): each.what for each in study.blanked}
    own = []
    declared: dict[str, list[Arrived]] = {}
    for entry in arrived:
        what = expected.get(key(entry.dataset))
        if what is None:
            own.append(entry)
        else:
            declared.setdefault(what, []).append(Arrived(what, entry.raw, entry.dataset))
    return own, declared


def blanking_problems(study: Study, declared: Mapping[str, Sequence[Arrived]]) -> list[str]:
    """Compare images of declared devices with what was sent, but for their regions."""
    problems = []
    for sent in study.blanked:
        entries = declared.get(sent.what, ())
        if len(entries) != 1:
            problems.append(f"{sent.what}: 1 sent, {len(entries)} arrived")
        for entry in entries:
            problems += [f"{sent.what}: {what}" for what in _blanking(sent, entry.dataset)]
    return problems


def _blanking(sent: Lettered, there: Dataset) -> list[str]:
    problems = []
    if str(there.get("BurnedInAnnotation", "")) != "NO":
        problems.append("(0028,0301) is not NO")
    methods = there.get("DeidentificationMethodCodeSequence") or []
    if _CLEANED not in [str(item.get("CodeValue", "")) for item in methods]:
        problems.append(f"(0012,0064) does not have {_CLEANED}")
    syntax = there.file_meta.TransferSyntaxUID
    if syntax.is_compressed or not syntax.is_little_endian:
        return [*problems, f"it arrived as {syntax.name}, which cannot be compared"]
    rows, columns = int(sent.dataset.Rows), int(sent.dataset.Columns)
    before, after = bytes(sent.dataset.PixelData), bytes(there.get("PixelData") or b"")
    if len(after) != len(before):
        return [*problems, f"its pixel data have {len(after)} bytes, not {len(before)}"]
    inside = bytearray(rows * columns)
    for left, top, width, height in sent.regions:
        for row in range(top, top + height):
            start = row * columns + left
            inside[start : start + width] = b"\1" * width
    wrong = [0, 0]
    for start in range(0, rows * columns, columns):
        within = inside[start : start + columns]
        was, is_now = before[start : start + columns], after[start : start + columns]
        if is_now == was and not any(within):
            continue
        for part, old, new in zip(within, was, is_now):
            wrong[part] += new != (_BLANK if part else old)
    if wrong[1]:
        problems.append(f"{wrong[1]} of {sum(inside)} pixels in its regions are not blank")
    if wrong[0]:
        problems.append(f"{wrong[0]} pixels outside of its regions are not as sent")
    return problems


def legible_problems(study: Study) -> tuple[list[str], str]:
    """Read with OCR the names in what is sent: what it cannot read there proves nothing elsewhere.

    Returns:
        The images in which it is not read, and what was seen.

    Raises:
        RuntimeError: tesseract is missing on this host, or ended with an error.
    """
    name = " ".join(pixel_text.name_of(study.token))
    problems = []
    with_name = [each for each in study.lettered if each.words]
    for each in with_name:
        (picture,) = pixel_text.pictures(each.dataset)
        text = pixel_text.read_regions(picture, each.regions) if each.regions else ""
        missing = pixel_text.missing(text or pixel_text.read(picture), each.words)
        if missing:
            problems.append(f"{each.what}: {' and '.join(missing)} is not read")
    seen = f"{pixel_text.version()} reads {name!r} in {len(with_name)} images"
    return problems, f"{seen}: {', '.join(each.what for each in with_name)}"


def read_problems(
    study: Study, own: Sequence[Arrived], declared: Mapping[str, Sequence[Arrived]]
) -> tuple[list[str], str]:
    """Look with OCR for the name of `legible_problems` in the images that arrived.

    Args:
        study: as sent.
        own: objects of the study, of which some are read, together on one sheet.
        declared: images of declared devices, each of which is read.

    Returns:
        The images in which a part of the name stands or which cannot be read, and what was seen.

    Raises:
        RuntimeError: tesseract is missing on this host, or ended with an error.
    """
    name = pixel_text.name_of(study.token)
    problems = []
    count = 0
    looked_at = []

    def look(
        entries: Sequence[Arrived], what: str, reads: Callable[[list[pixel_text.Picture]], str]
    ) -> None:
        nonlocal count
        frames: list[pixel_text.Picture] = []
        for entry in entries:
            try:
                frames += _spread(pixel_text.pictures(entry.dataset), READ_FRAMES)
            except ValueError as error:
                problems.append(f"{entry.name}: {error}")
        if not frames:
            return
        count += len(frames)
        looked_at.append(what)
        try:
            text = reads(frames)
        except ValueError as error:
            problems.append(f"{what}: {error}")
            return
        if pixel_text.traces(text, name):
            problems.append(f"the name, or a part of it, can be read in {what}")

    def together(frames: list[pixel_text.Picture]) -> str:
        return pixel_text.read_together(frames, pixel_text.control_of(study.token))

    def alone(frames: list[pixel_text.Picture]) -> str:
        return "\n".join(map(pixel_text.read, frames))

    images = [entry for entry in own if "PixelData" in entry.dataset]
    usual = [entry for entry in images if entry.dataset.get("SOPClassUID") in SOP_CLASS_NAMES]
    usual = _spread(usual, READ_OBJECTS)
    look(usual, _counts(usual), together)
    # What nobody sent in this form is read in any case.
    for entry in images:
        if entry.dataset.get("SOPClassUID") not in SOP_CLASS_NAMES:
            look([entry], entry.name, alone)
    for sent in study.blanked:

        def as_sent(frames: list[pixel_text.Picture], sent: Lettered = sent) -> str:
            # As it was read before, and all of it: a name may stand elsewhere now.
            parts = [pixel_text.read_regions(frame, sent.regions) for frame in frames]
            return "\n".join([*parts, alone(frames)])

        for entry in declared.get(sent.what, ()):
            look([entry], entry.name, as_sent)
    seen = f"tesseract reads nothing of {' '.join(name)!r} in {count} frames of "
    return problems, seen + ", ".join(looked_at)


def _spread(entries: Sequence[Any], most: int) -> list[Any]:
    """Return at most so many entries, the first and the last among them."""
    if len(entries) <= most:
        return list(entries)
    return [entries[number * (len(entries) - 1) // (most - 1)] for number in range(most)]


def _counts(arrived: Sequence[Arrived]) -> str:
    counts: dict[str, int] = {}
    for entry in arrived:
        kind = entry.name.rpartition(" ")[0]
        counts[kind] = counts.get(kind, 0) + 1
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def is_stray(raw: bytes, studies: Sequence[Study]) -> bool:
    """Tell whether a file that stands under another name is an object of this proof.

    Either a mark is left in it, or it shows one of the images that were sent, or a row of one that
    has a name in it: no other study in the world has these.
    """
    if find_marks(raw, studies[0]):
        return True
    for study in studies:
        shown = [bytes(image.PixelData) for image in study.of_class(CT)]
        shown += [each.own_row for each in study.lettered]
        if any(pixels and pixels in raw for pixels in shown):
            return True
    return False
