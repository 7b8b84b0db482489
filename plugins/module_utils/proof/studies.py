"""A synthetic study, what it hides, and what of it is found again in data."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.proof import pixel_text
from ansible_collections.auscat.imaging.plugins.module_utils.proof.marks import describe_tag
from ansible_collections.auscat.imaging.plugins.module_utils.proof.names import (
    UID_ROOT,
)

# Who needs pydicom and has none is told by `phantom.PYDICOM_ERROR`.
with contextlib.suppress(ImportError):
    from pydicom.dataset import Dataset


_OWN_PIXELS = 16


@dataclass(frozen=True)
class Lettered:
    """An image with a name in its pixels; it lies in a study of its own.

    Attributes:
        what: what it is called in the report.
        dataset: with file meta information; one frame, MONOCHROME2 of 8 bits.
        words: of the name that can be read in it; none where its regions have no room for one.
        regions: what is declared to be blanked in it; none: it must be held back.
    """

    what: str
    dataset: Dataset = field(repr=False)
    words: tuple[str, ...]
    regions: tuple[pixel_text.Region, ...] = ()

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID as sent."""
        return str(self.dataset.SOPInstanceUID)

    @property
    def own_row(self) -> bytes:
        """Pixels that stand in no other image; empty where it has none, or too few for that."""
        number = pixel_text.own_row(int(self.dataset.Rows), self.regions)
        columns = int(self.dataset.Columns)
        if number < 0 or columns < _OWN_PIXELS:
            return b""
        return bytes(self.dataset.PixelData[number * columns : (number + 1) * columns])


@dataclass(frozen=True)
class Study:
    """A synthetic study and what it hides.

    Attributes:
        token: ten digits, the first one 1.
        patient_id: (0010,0020) as sent; begins with `names.PATIENT_PREFIX`.
        pseudonym: what the known patient is called behind CTP; `is_proof_pseudonym` knows it, and
            it tells nothing of the token.
        datasets: CT slices from feet to head, then RTSTRUCT, RTPLAN and RTDOSE, each with file
            meta information.
        captures: of the known patient, a capture and an ultrasound image with a name in their
            pixels, of devices that no site declares: they must be held back.
        declared: of the known patient, for each of the site's declarations with regions to blank an
            image with a name in them.
        blanks: whether what is declared to be blanked arrives; else it must be held back.
        too_large: what declared images are called that were not made, since they are too large.
        texts: place of each numbered text mark.
        uids: place of each numbered UID.
        dates: what each date (DA) stands for.
        time: time of day (TM) of everything in the study.
    """

    token: str
    patient_id: str
    pseudonym: str
    datasets: list[Dataset] = field(repr=False)
    texts: dict[int, str] = field(repr=False)
    uids: dict[int, str] = field(repr=False)
    dates: dict[str, str] = field(repr=False)
    time: str = field(repr=False)
    captures: list[Lettered] = field(default_factory=list, repr=False)
    declared: list[Lettered] = field(default_factory=list, repr=False)
    too_large: list[str] = field(default_factory=list)
    blanks: bool = True

    @property
    def blanked(self) -> list[Lettered]:
        """Images with a name that must arrive, without it."""
        return self.declared if self.blanks else []

    @property
    def held(self) -> list[Lettered]:
        """Images with a name that must not arrive."""
        return self.captures if self.blanks else self.lettered

    @property
    def lettered(self) -> list[Lettered]:
        """All images with a name in their pixels."""
        return [*self.captures, *self.declared]

    @property
    def sop_instance_uids(self) -> list[str]:
        """SOP Instance UIDs as sent."""
        return [str(dataset.SOPInstanceUID) for dataset in self.datasets]

    @cached_property
    def elements(self) -> list[list[tuple[str, Any]]]:
        """All elements of each dataset at all levels, as `walk` yields them."""
        return [list(walk(dataset)) for dataset in self.datasets]

    def of_class(self, sop_class: str) -> list[Dataset]:
        """Return the datasets of a SOP Class, in the order in which they are sent."""
        return [dataset for dataset in self.datasets if dataset.SOPClassUID == sop_class]


# What is found where no numbered mark is.
TIME_OF_STUDY = "the time of the study"
TOKEN_ALONE = "the token of the patient's identifier"

# What follows the token in a text mark (N and a number) and in a UID (known or unknown, a number).
_AFTER_TOKEN = re.compile(rb"(?:(n)([0-9]{4})|[12]([0-9]{5}))?", re.IGNORECASE)


def find_marks(data: bytes, study: Study) -> list[str]:
    """Return what identifies the patient in the bytes, as the places where the sent study had it.

    Any occurrence of the token counts, whatever stands around it, as ASCII (and so UTF-8 and
    Latin-1) or UTF-16, and the dates and the time in the forms in which DICOM and JSON write them.
    """
    found = []
    for hit in re.finditer(study.token.encode(), data):
        after = _AFTER_TOKEN.match(data, hit.end())
        number = int(after.group(2) or after.group(3) or 0) if after else 0
        if after and after.group(1):
            place = study.texts.get(number, "")
        elif data.endswith(UID_ROOT.encode(), 0, hit.start()):
            place = study.uids.get(number, "")
        else:
            place = ""
        found.append(place or TOKEN_ALONE)
    if study.token.encode("utf-16-le") in data or study.token.encode("utf-16-be") in data:
        found.append(f"{TOKEN_ALONE}, in UTF-16")
    for date, what in study.dates.items():
        iso = f"{date[:4]}-{date[4:6]}-{date[6:]}"
        if date.encode() not in data and iso.encode() not in data:
            continue
        # A longer run of digits is a number or a UID that holds these digits by chance.
        if re.search(rf"(?<![0-9])(?:{date}|{iso})".encode(), data):
            found.append(what)
    if study.time.encode() in data:
        found.append(TIME_OF_STUDY)
    return sorted(set(found))


def walk(dataset: Dataset, within: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every element at all levels with its path, such as ``BeamSequence[0] > BeamName``."""
    for element in dataset:
        path = within + describe_tag(element.tag)
        yield path, element
        if element.VR == "SQ":
            for number, item in enumerate(element.value or []):
                yield from walk(item, f"{path}[{number}] > ")
