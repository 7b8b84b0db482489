"""The proof's synthetic radiotherapy study, with identifying marks wherever a header can hide them.

The study follows from a token of ten digits alone, so the machine that sends it and the machine
that checks what arrived build the same study without exchanging more than that token. The token
stands in every text mark, UID and number that the study hides: whoever finds it in what arrived
has found a leak. Dates and times cannot hold a token; they are chosen so that they are unlikely
to appear by chance.

The places are those of DICOM PS3.15 2026c, Table E.1-1 (attributes to protect under the Basic
Application Level Confidentiality Profile), some free texts that the table does not list, private
elements, nested sequences, file meta information, preamble and trailing padding. No mark stands in
the pixel data of the study, which must arrive as it was sent. Beside it there may be images with a
name in their pixels, which must not (`Lettered`).

Needs pydicom 2.3 or newer on the host, and for those images what `pixel_text` needs; everything
else is the standard library.
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.ctp import pixels as ctp_pixels
from ansible_collections.auscat.imaging.plugins.module_utils.proof import pixel_text
from ansible_collections.auscat.imaging.plugins.module_utils.proof.checks import Report
from ansible_collections.auscat.imaging.plugins.module_utils.proof.names import (
    UID_ROOT,
    check_token,
    patient_identifier,
    pseudonym_of,
)

try:
    import pydicom
    from pydicom.datadict import keyword_for_tag
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    PYDICOM_ERROR = ""
except ImportError as error:
    PYDICOM_ERROR = str(error)

CT = "1.2.840.10008.5.1.4.1.1.2"
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
RTDOSE = "1.2.840.10008.5.1.4.1.1.481.2"
RTPLAN = "1.2.840.10008.5.1.4.1.1.481.5"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.1"
SOP_CLASS_NAMES = {CT: "CT", RTSTRUCT: "RTSTRUCT", RTPLAN: "RTPLAN", RTDOSE: "RTDOSE"}

_DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"

ROWS = COLUMNS = 64
PIXEL_SPACING_MM = 4.0
SLICE_SPACING_MM = 3.0
DOSE_ROWS = DOSE_COLUMNS = 16
DOSE_SPACING_MM = 12.0
CONTOUR_POINTS = 24
MIN_CT_INSTANCES = 4
MAX_CT_INSTANCES = 200

# A saved screen, and an ultrasound image with a banner over its full width.
CAPTURE_ROWS, CAPTURE_COLUMNS = 128, 512
ULTRASOUND_ROWS, ULTRASOUND_COLUMNS, BANNER_ROWS = 300, 480, 40
FIRST_DECLARED = MAX_CT_INSTANCES + 1
"""Instance Number (0020,0013) of the first image of a declared device; no slice has one as high."""
LARGEST_DECLARED = 16 * 1024 * 1024
ALL_DECLARED = 64 * 1024 * 1024
"""Bytes of one image of a declared device, and of all of them, which a host holds in memory."""
LONGEST_SIDE = 32767
"""Pixels: tesseract reads no image with a longer one."""
_OWN_PIXELS = 16

# PS3.15 2026c, Table E.1-1: every attribute that can hold a text, a date, a number or a UID of
# one's choice, by value representation. Left out: command and file meta elements (the latter are
# marked below), UIDs that hold the study together (set below), coded yes/no values, age, an
# embedded document (a gateway may refuse such an object as a whole), what says that an image is a
# capture (it would be held back for its pixels), and a few attributes that are too new for
# pydicom's dictionary to know their value representation.
PROFILE_PLACES = {
    "AE": """
        00080054 00080055 00081000 00321021 00400001 00400241 0072005E 00741234 00741236
        21000070 21000140
    """,
    "CS": """
        001021A0 00102203 00160071 00160073 00160079 0016007A 0016007C 0016007E 00160080
        00160083 00160085 00160087 00160089
    """,
    "DA": """
        00080012 00080020 00080021 00080022 00080023 00080024 00080025 00100030 001021D0
        00120086 00120087 0014407E 00181200 00181204 00181205 0018700C 00203403
        00320032 00320034 00321000 00321010 00321040 00321050 0038001A 0038001C 00380020
        00380030 00400002 00400004 00400244 00400250 00402004 0040A023 0040A110 0040A121
        0040A192 00700082 00720061 21000040 30060008 30080024 30080054 30080056 30080162
        30080166 30080250 300A0006 300A022C 300E0004 3010004C 3010004D 40080100 40080108
        40080112
    """,
    "DT": """
        00080015 0008002A 00080106 00080107 00160077 0016008D 00181078 00181079 00181202
        00181203 00189074 00189151 00189369 0018936A 00189516 00189517 00189623 00189701
        00189804 00189919 0018A002 003A0314 00404005 00404008 00404010 00404011 00404050
        00404051 00404052 0040A030 0040A032 0040A033 0040A082 0040A120 0040A13A 0040DB06
        0040DB07 0040E004 00440004 0044000B 00440010 00440104 00440105 00686226 00686270
        0072000A 00720063 01000420 04000105 04000562 3006002D 3006002E 300A0736 300A073A
        300A0741 300A0760 300C0127
    """,
    "TM": """
        00080013 00080030 00080031 00080032 00080033 00080034 00080035 00100032 0014407C
        00180027 00180035 00181014 00181042 00181043 00181072 00181073 00181201 0018700E
        00203405 00320033 00320035 00321001 00321011 00321041 00321051 0038001B 0038001D
        00380021 00380032 00400003 00400005 00400245 00400251 00402005 0040A024 0040A112
        0040A122 0040A193 00700083 0072006B 21000050 30060009 30080025 30080164 30080168
        30080251 300A0007 300A022E 300E0005 30100085 40080101 40080109 40080113
    """,
    "DS": """
        00101020 00101030 0016004E 00160072 00160074 00160076 0016007B 0016007D 0016007F
        00160081 00160084 00160086 00160088 0016008A
    """,
    "IS": """
        0016008E
    """,
    "LO": """
        00080080 00081030 0008103E 00081040 00081080 00081088 00101000 00101040 00101050
        00101080 00101081 00101090 00102000 00102110 00102150 00102152 001021F0 00102299
        00120010 00120020 00120021 00120022 00120030 00120031 00120032 00120040 00120041
        00120042 00120043 00120050 00120055 00120060 00120071 00120072 00120073 00120081
        00120082 00180010 00181000 00181004 00181005 00181007 00181008 00181011
        00181030 001811BB 00181400 00189937 00200027 00203406 00320012 00321020 00321030
        00321033 00321060 00321070 00380010 00380011 0038001E 00380040 00380050 00380060
        00380061 00380062 00380300 00380400 00380500 003A020C 00400007 00400012 00400254
        0040050A 00400512 0040051A 00400551 00400600 004006FA 00401002 00401004 00401005
        00401103 00402001 00402016 00402017 00403001 00404036 0040A027 0040A354 0050001B
        00500020 006A0005 00720066 00880904 00880910 00880912 04000563 04000564 20300020
        30020121 30060004 30060026 30060038 30080105 300A0003 300A000B 300A0016 300A0072
        300A0216 300A0608 300A0611 300A0615 300A0619 300A0623 300A062A 300A079A 300C0113
        3010002D 30100034 30100036 30100038 30100054 30100056 30100077 40080042 4008011A
        40080202
    """,
    "LT": """
        00084000 00102155 001021B0 00104000 00184000 00189424 00204000 00209158 00284000
        00324000 00384000 00401104 00401400 00402011 00402400 00720068 22000005 30020123
        300A02EB 300A078E 300A0792 300A0794 40000010 40004000 40080115
    """,
    "OB": """
        0016002B 0016004B 00160070 0016008B 0016008C 00340002 00340005 00340007
        00720065 04000115 04000404 04000552 FFFCFFFC
    """,
    "PN": """
        00080090 0008009C 00081048 00081050 00081060 00081070 00100010 00101001 00101005
        00101060 00102297 00321032 00400006 00401010 00402008 00404037 0040A075 0040A123
        0040A307 0040A352 00700084 0072006A 300600A6 300E0008 40080102 4008010A 4008010C
        40080114 40080119
    """,
    "SH": """
        00080050 00080094 00080201 00081010 00102154 00102160 00102180 0018700A 00200010
        003A0020 003A0203 00400009 00400010 00400011 00400242 00400243 00400253 00401001
        00402009 00402010 0072006C 30060002 30060085 300A0002 300A00B2 300A067C 30100033
        30100035 40080040 40080200
    """,
    "SQ": """
        00080082 00080096 0008009D 00081041 00081049 00081052 00081062 00081072 00081084
        00081110 00081111 00081120 00081140 00082112 00100050 00100101 00100102 00101002
        00101100 00102161 00120023 0018100A 00185011 00321067 00340001 00380004 00380014
        00380064 0040000B 00400275 00400513 00400555 00400562 00400610 0040100A 00401011
        00401101 00404025 00404027 00404028 00404030 00404034 00404035 0040A073 0040A078
        0040A07A 0040A07C 0040A088 0040A358 0040A730 0040B020 00700001 00700086 00880200
        04000402 04000403 04000550 04000551 04000561 3006004D 3006004E 30100081 40080111
        40080118 FFFAFFFA
    """,
    "ST": """
        00080081 00080092 00082111 00120051 00189185 00189373 0018A003 003A0329 003A032B
        00400280 00400310 00400556 00401102 0040A353 00500021 00700006 0072006E 00880906
        30060006 30060028 30060088 300A0004 300A000E 300A00C3 300A00DD 300A0196 300A01A6
        300A01B2 300A0676 300A067D 300A0734 300A0742 300A0783 3010000F 30100017 30100037
        30100043 3010005C 4008010B 40080300 40084000
    """,
    "UC": """
        00189367 00189371 3010001B
    """,
    "UI": """
        00080014 00080017 00080019 00080058 00081195 00083010 00181002 0018100B 00182042
        00200200 00209161 00209164 00281199 00281214 003A0310 00400554 00404023 0040A124
        0040A171 0040A172 0040A402 0040DB0C 0040DB0D 00620021 00640003 006A0003 0070031A
        00701101 00701102 00880140 04000100 30060024 300600C2 300A0013 300A0054 300A0083
        300A0609 300A0650 300A0700 300A0785 30100006 3010000B 30100013 30100015 30100031
        3010003B 3010006E 3010006F
    """,
    "UR": """
        00720071
    """,
    "UT": """
        0016004D 0016004F 00160050 00160051 00160078 00160082 00181009 0018937B 0018937F
        00321066 00400602 006A0006 00720070 22000002 3010005A 30100061 3010007A 3010007B
        3010007F
    """,
}

# Free texts that the table does not list and in which people write names nevertheless: beam,
# tolerance table, overlay (60xx) and curve (50xx) descriptions.
UNLISTED_PLACES = {
    "LO": "300A00C2 50002500 60000022 60001500",
    "SH": "300A0043",
}

# Coded procedures and other sequences that the table does not list: an item may hold anything.
UNLISTED_SEQUENCES = "00081032 00321064 00082218 00540220"


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


class _Marker:
    """Hands out marks and remembers where each stands."""

    def __init__(self, token: str, known: bool) -> None:
        self.token = token
        self.texts: dict[int, str] = {}
        self.uids: dict[int, str] = {}
        self._uid_stem = f"{UID_ROOT}{token}{1 if known else 2}"

    def text(self, place: str) -> str:
        """Return a mark of 16 characters, which fits every text, SH, AE and CS included."""
        number = len(self.texts) + 1
        self.texts[number] = place
        return f"Q{self.token}N{number:04d}"

    def uid(self, place: str) -> str:
        """Return a UID that holds the token."""
        number = len(self.uids) + 1
        self.uids[number] = place
        return f"{self._uid_stem}{number:05d}"


@dataclass(frozen=True)
class _Moment:
    """The two dates and the time of day of a study."""

    birth: str
    study: str
    time: str


def _moment_of(token: str) -> _Moment:
    digest = hashlib.sha256(f"moment {token}".encode()).digest()

    def date(first_year: int, part: bytes) -> str:
        # Neither a first day nor a January: those are what de-identification puts in.
        return f"{first_year + part[0] % 30:04d}{2 + part[1] % 11:02d}{2 + part[2] % 27:02d}"

    fraction = int.from_bytes(digest[9:12], "big") % 900000 + 100000
    time = f"{1 + digest[6] % 22:02d}{1 + digest[7] % 58:02d}{1 + digest[8] % 58:02d}.{fraction}"
    return _Moment(birth=date(1931, digest[0:3]), study=date(1961, digest[3:6]), time=time)


@cache
def describe_tag(tag: Any) -> str:
    """Return a tag as ``PatientName (0010,0010)``; a private one without a name."""
    number = int(tag)
    return f"{keyword_for_tag(number)} ({number >> 16:04X},{number & 0xFFFF:04X})".strip()


def _even(data: bytes) -> bytes:
    return data + b"\0" * (len(data) % 2)


def _hidden_value(vr: str, tag: int, place: str, marker: _Marker, moment: _Moment) -> Any:
    """Return a value of this value representation that identifies the patient."""
    if vr == "SQ":
        return [_item(place, marker, moment)]
    if vr == "UI":
        return marker.uid(place)
    if vr in {"DS", "IS"}:
        return marker.token if vr == "IS" else f"73.{marker.token}"
    if vr in {"DA", "DT", "TM"}:
        date = moment.birth if tag in {0x00100030, 0x001021D0} else moment.study
        return {"DA": date, "TM": moment.time, "DT": date + moment.time}[vr]
    mark = marker.text(place)
    if vr in {"AE", "CS", "SH"}:
        return mark
    if vr == "OB":
        return _even(mark.encode())
    return {"PN": f"Proof^{mark}", "UR": f"http://proof.example/{mark}"}.get(vr, f"Proof {mark}")


def _hide(dataset: Dataset, tag: int, vr: str, within: str, marker: _Marker, m: _Moment) -> None:
    place = f"{within}{describe_tag(tag)}"
    dataset.add_new(tag, vr, _hidden_value(vr, tag, place, marker, m))


def _hide_private(
    dataset: Dataset, group: int, within: str, marker: _Marker, moment: _Moment, depth: int = 0
) -> None:
    """Add a block of private elements with a creator (PS3.5 7.8), one of them a sequence."""
    where = f"{within}private group {group:04X}"
    block = dataset.private_block(group, f"PROOF {marker.text(f'{where}, creator')}", create=True)
    for offset, vr in enumerate(("LO", "PN", "SH", "UT", "UI", "OB", "DA", "DS"), start=0x10):
        place = f"{where}, {vr}"
        block.add_new(offset, vr, _hidden_value(vr, 0, place, marker, moment))
    block.add_new(0x20, "UN", _even(marker.text(f"{where}, UN").encode()))
    if depth < 1:
        item = Dataset()
        _hide(item, 0x00100010, "PN", f"{where}, SQ > ", marker, moment)
        _hide_private(item, group, f"{where}, SQ > ", marker, moment, depth + 1)
        block.add_new(0x30, "SQ", [item])


def _item(within: str, marker: _Marker, moment: _Moment, depth: int = 0) -> Dataset:
    """Return a sequence item with marks in a few elements, private ones and deeper items."""
    item = Dataset()
    item.ReferencedSOPClassUID = _DETACHED_STUDY
    for tag, vr in (
        (0x00080022, "DA"),
        (0x00080050, "SH"),
        (0x00080080, "LO"),
        (0x00081155, "UI"),
        (0x00100010, "PN"),
        (0x00100020, "LO"),
        (0x00101040, "LO"),
    ):
        _hide(item, tag, vr, f"{within} > ", marker, moment)
    if depth < 2:
        deeper = f"{within} > {describe_tag(0x00081032)}"
        code = _item(deeper, marker, moment, depth + 1)
        code.CodeValue = "PROOF"
        code.CodingSchemeDesignator = "99PROOF"
        code.CodeMeaning = f"Proof {marker.text(f'{deeper} > {describe_tag(0x00080104)}')}"
        item.ProcedureCodeSequence = [code]
    else:
        _hide_private(item, 0x0029, f"{within} > ", marker, moment, depth=1)
    return item


def _hidden_header(marker: _Marker, moment: _Moment) -> Dataset:
    """Return the header that every object of the study carries: nothing but marks."""
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    for places in (PROFILE_PLACES, UNLISTED_PLACES):
        for vr, tags in places.items():
            for tag in tags.split():
                _hide(header, int(tag, 16), vr, "", marker, moment)
    for tag in UNLISTED_SEQUENCES.split():
        _hide(header, int(tag, 16), "SQ", "", marker, moment)
    for group in (0x0009, 0x0019, 0x0029, 0x0051, 0x00E1, 0x7FE1):
        _hide_private(header, group, "", marker, moment)
    # Each component and component group of a name can leak alone (PS3.5 6.2.1).
    family, given, middle, prefix, suffix, phonetic = (
        marker.text(f"PatientName (0010,0010), {part}")
        for part in ("family", "given", "middle", "prefix", "suffix", "phonetic")
    )
    header.PatientName = (
        f"{family}^{given}^{middle}=\u5c71\u7530^{prefix}^^{suffix}=\u3084\u307e\u3060^{phonetic}"
    )
    for number in (0x00101000, 0x00101090, 0x00081048):
        element = header[number]
        second = f"{describe_tag(number)}, second value"
        more = _hidden_value(str(element.VR), number, second, marker, moment)
        element.value = [element.value, more]
    return header


def _file_meta(dataset: Dataset, syntax: str, marker: _Marker) -> FileMetaDataset:
    """Return file meta information (PS3.10 7.1) with marks where the file alone holds them."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(syntax)
    meta.ImplementationClassUID = UID(UID_ROOT)
    meta.ImplementationVersionName = "AUSCAT_PROOF"
    meta.SourceApplicationEntityTitle = marker.text("SourceApplicationEntityTitle (0002,0016)")
    creator = marker.uid("PrivateInformationCreatorUID (0002,0100)")
    meta.PrivateInformationCreatorUID = UID(creator)
    meta.PrivateInformation = _even(marker.text("PrivateInformation (0002,0102)").encode())
    return meta


def slice_position(index: int) -> list[float]:
    """Return Image Position (Patient) of a CT slice in mm."""
    edge = -PIXEL_SPACING_MM * (COLUMNS - 1) / 2
    return [edge, edge, index * SLICE_SPACING_MM]


def _decimals(values: list[float]) -> list[str]:
    return [f"{value:.4f}" for value in values]


def ct_pixels(seed: str, index: int, count: int) -> bytes:
    """Return one slice: a water cylinder with a bone cone and an air hole in it.

    Returns:
        `ROWS` x `COLUMNS` unsigned 16 bit little endian values, Hounsfield unit + 1024, with noise
        of the seed, so that no two slices of any two proofs are equal.
    """
    noise = hashlib.shake_256(f"{seed} {index}".encode()).digest(ROWS * COLUMNS)
    cone = 14.0 + 20.0 * index / count
    values = []
    for row in range(ROWS):
        y = (row - (ROWS - 1) / 2) * PIXEL_SPACING_MM
        for column in range(COLUMNS):
            x = (column - (COLUMNS - 1) / 2) * PIXEL_SPACING_MM
            if math.hypot(x, y) > 110.0:
                hounsfield = -1000
            elif math.hypot(x - 40.0, y) < cone:
                hounsfield = 900
            elif math.hypot(x + 45.0, y + 20.0) < 15.0:
                hounsfield = -850
            else:
                hounsfield = 0
            values.append(hounsfield + 1024 + noise[row * COLUMNS + column] % 16)
    return struct.pack(f"<{len(values)}H", *values)


def _dose_pixels(count: int) -> bytes:
    """Return `count` frames of a dose that falls off around the tumour, 32 bit little endian."""
    values = []
    for index in range(count):
        for row in range(DOSE_ROWS):
            for column in range(DOSE_COLUMNS):
                distance = math.hypot(row - 7.5, column - 7.5, index - count / 2)
                values.append(round(200000 * math.exp(-((distance / 5.0) ** 2))))
    return struct.pack(f"<{len(values)}I", *values)


def _circle(centre_x: float, centre_y: float, radius: float, z: float) -> list[str]:
    points: list[float] = []
    for step in range(CONTOUR_POINTS):
        angle = 2 * math.pi * step / CONTOUR_POINTS
        points += [centre_x + radius * math.cos(angle), centre_y + radius * math.sin(angle), z]
    return _decimals(points)


def _reference(sop_class: str, instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = instance_uid
    return item


class _Builder:
    """Builds the objects of one study around common UIDs."""

    def __init__(self, token: str, known: bool, ct_instances: int, issuer: str | None) -> None:
        self.marker = _Marker(token, known)
        self.moment = _moment_of(token)
        self.known = known
        self.count = ct_instances
        self.patient_id = patient_identifier(token, known)
        self.study_uid = self.marker.uid("StudyInstanceUID (0020,000D)")
        self.frame_uid = self.marker.uid("FrameOfReferenceUID (0020,0052)")
        self.ct_series_uid = self.marker.uid("SeriesInstanceUID (0020,000E) of the CT")
        self.ct_uids = [
            self.marker.uid(f"SOPInstanceUID (0008,0018) of CT slice {index + 1}")
            for index in range(ct_instances)
        ]
        self.struct_uid = self.marker.uid("SOPInstanceUID (0008,0018) of the RTSTRUCT")
        self.plan_uid = self.marker.uid("SOPInstanceUID (0008,0018) of the RTPLAN")
        self.dose_uid = self.marker.uid("SOPInstanceUID (0008,0018) of the RTDOSE")
        self.header = _hidden_header(self.marker, self.moment)
        mark = self.marker.text("IssuerOfPatientID (0010,0021)")
        self.issuer = mark if issuer is None else issuer

    def base(self, sop_class: str, uid: str, series_uid: str, number: int) -> Dataset:
        """Return a dataset with what all objects share (PS3.3 C.7.1 to C.7.5, C.12.1)."""
        # The elements are shared, not copied: nobody changes them, and copying takes seconds. So
        # what is set here must not be in the header already.
        dataset = Dataset()
        dataset.update(self.header)
        dataset.SOPClassUID = sop_class
        dataset.SOPInstanceUID = uid
        dataset.StudyInstanceUID = self.study_uid
        dataset.SeriesInstanceUID = series_uid
        dataset.FrameOfReferenceUID = self.frame_uid
        dataset.PositionReferenceIndicator = ""
        dataset.PatientID = self.patient_id
        dataset.IssuerOfPatientID = self.issuer
        dataset.PatientSex = "O"
        dataset.PatientAge = "047Y"
        dataset.Modality = SOP_CLASS_NAMES.get(sop_class, "OT")
        dataset.Manufacturer = "AusCAT proof"
        dataset.BurnedInAnnotation = "NO"
        dataset.SeriesNumber = str(number)
        dataset.InstanceNumber = "1"
        return dataset

    def finish(self, dataset: Dataset, syntax: str) -> Dataset:
        """Add file meta information and preamble."""
        dataset.file_meta = _file_meta(dataset, syntax, self.marker)
        mark = self.marker.text("preamble of the file")
        dataset.preamble = mark.encode().ljust(128, b"\0")
        return dataset

    def _image(self, dataset: Dataset, rows: int, columns: int, spacing: float) -> None:
        dataset.SamplesPerPixel = 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.Rows = rows
        dataset.Columns = columns
        dataset.PixelSpacing = _decimals([spacing, spacing])
        dataset.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
        dataset.PixelRepresentation = 0

    def slice(self, index: int) -> Dataset:
        """Return a CT image (PS3.3 A.3)."""
        dataset = self.base(CT, self.ct_uids[index], self.ct_series_uid, 1)
        self._image(dataset, ROWS, COLUMNS, PIXEL_SPACING_MM)
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.AcquisitionNumber = "1"
        dataset.InstanceNumber = str(index + 1)
        dataset.PatientPosition = "HFS"
        dataset.ImagePositionPatient = _decimals(slice_position(index))
        dataset.SliceThickness = f"{SLICE_SPACING_MM:.4f}"
        dataset.SliceLocation = f"{index * SLICE_SPACING_MM:.4f}"
        dataset.KVP = "120"
        dataset.RescaleIntercept = "-1024"
        dataset.RescaleSlope = "1"
        dataset.RescaleType = "HU"
        dataset.BitsAllocated = 16
        dataset.BitsStored = 16
        dataset.HighBit = 15
        dataset.add_new(0x7FE00010, "OW", ct_pixels(self.patient_id, index, self.count))
        return self.finish(dataset, ExplicitVRLittleEndian)

    def structure_set(self) -> Dataset:
        """Return an RT Structure Set (PS3.3 A.19) whose contours name the slices they lie on."""
        series_uid = self.marker.uid("SeriesInstanceUID (0020,000E) of the RTSTRUCT")
        dataset = self.base(RTSTRUCT, self.struct_uid, series_uid, 2)
        images = Dataset()
        images.SeriesInstanceUID = self.ct_series_uid
        images.ContourImageSequence = [_reference(CT, uid) for uid in self.ct_uids]
        study = _reference(_DETACHED_STUDY, self.study_uid)
        study.RTReferencedSeriesSequence = [images]
        frame = Dataset()
        frame.FrameOfReferenceUID = self.frame_uid
        frame.RTReferencedStudySequence = [study]
        dataset.ReferencedFrameOfReferenceSequence = [frame]
        dataset.StructureSetROISequence = []
        dataset.ROIContourSequence = []
        dataset.RTROIObservationsSequence = []
        for number, (name, kind, x, radius) in enumerate(
            (("BODY", "EXTERNAL", 0.0, 110.0), ("GTV", "GTV", 40.0, 24.0)), start=1
        ):
            self._add_structure(dataset, number, name, kind, x, radius)
        dataset.ApprovalStatus = "UNAPPROVED"
        return self.finish(dataset, ExplicitVRLittleEndian)

    def _add_structure(
        self, dataset: Dataset, number: int, name: str, kind: str, x: float, radius: float
    ) -> None:
        within = f"StructureSetROISequence > structure {number} > "
        structure = Dataset()
        structure.ROINumber = str(number)
        structure.ReferencedFrameOfReferenceUID = self.frame_uid
        structure.ROIName = f"{name} {self.marker.text(within + 'ROIName (3006,0026)')}"
        structure.ROIGenerationAlgorithm = "MANUAL"
        for tag, vr in ((0x30060028, "ST"), (0x30060038, "LO"), (0x00100010, "PN")):
            _hide(structure, tag, vr, within, self.marker, self.moment)
        _hide_private(structure, 0x0031, within, self.marker, self.moment, depth=1)
        dataset.StructureSetROISequence.append(structure)

        contours = []
        for index, uid in enumerate(self.ct_uids):
            contour = Dataset()
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = str(CONTOUR_POINTS)
            contour.ContourData = _circle(x, 0.0, radius, slice_position(index)[2])
            contour.ContourImageSequence = [_reference(CT, uid)]
            # A name where no standard has one, deep inside what must be kept.
            _hide(
                contour.ContourImageSequence[0],
                0x00100010,
                "PN",
                "ROIContourSequence > ContourSequence > ContourImageSequence > ",
                self.marker,
                self.moment,
            )
            contours.append(contour)
        roi = Dataset()
        roi.ReferencedROINumber = str(number)
        roi.ROIDisplayColor = ["255", "0", "0"]
        roi.ContourSequence = contours
        dataset.ROIContourSequence.append(roi)

        within = f"RTROIObservationsSequence > structure {number} > "
        observation = Dataset()
        observation.ObservationNumber = str(number)
        observation.ReferencedROINumber = str(number)
        observation.RTROIInterpretedType = kind
        for tag, vr in ((0x30060085, "SH"), (0x30060088, "ST"), (0x300600A6, "PN")):
            _hide(observation, tag, vr, within, self.marker, self.moment)
        dataset.RTROIObservationsSequence.append(observation)

    def plan(self) -> Dataset:
        """Return an RT Plan (PS3.3 A.20) with one static photon beam."""
        series_uid = self.marker.uid("SeriesInstanceUID (0020,000E) of the RTPLAN")
        dataset = self.base(RTPLAN, self.plan_uid, series_uid, 3)
        dataset.RTPlanGeometry = "PATIENT"
        dataset.ReferencedStructureSetSequence = [_reference(RTSTRUCT, self.struct_uid)]
        dataset.ApprovalStatus = "UNAPPROVED"
        beam_link = Dataset()
        beam_link.ReferencedBeamNumber = "1"
        beam_link.BeamMeterset = "100"
        fraction = Dataset()
        fraction.FractionGroupNumber = "1"
        fraction.NumberOfFractionsPlanned = "30"
        fraction.NumberOfBeams = "1"
        fraction.NumberOfBrachyApplicationSetups = "0"
        fraction.ReferencedBeamSequence = [beam_link]
        _hide(fraction, 0x300A0072, "LO", "FractionGroupSequence > ", self.marker, self.moment)
        dataset.FractionGroupSequence = [fraction]
        setup = Dataset()
        setup.PatientSetupNumber = "1"
        setup.PatientPosition = "HFS"
        _hide(setup, 0x300A01B2, "ST", "PatientSetupSequence > ", self.marker, self.moment)
        dataset.PatientSetupSequence = [setup]
        dataset.BeamSequence = [self._beam()]
        return self.finish(dataset, ExplicitVRLittleEndian)

    def _beam(self) -> Dataset:
        within = "BeamSequence > "
        beam = Dataset()
        beam.BeamNumber = "1"
        beam.BeamType = "STATIC"
        beam.RadiationType = "PHOTON"
        beam.TreatmentDeliveryType = "TREATMENT"
        beam.PrimaryDosimeterUnit = "MU"
        beam.SourceAxisDistance = "1000"
        for tag, vr in (
            (0x300A00C2, "LO"),
            (0x300A00C3, "ST"),
            (0x300A00B2, "SH"),
            (0x00080080, "LO"),
            (0x00181000, "LO"),
            (0x00100010, "PN"),
        ):
            _hide(beam, tag, vr, within, self.marker, self.moment)
        _hide_private(beam, 0x3287, within, self.marker, self.moment, depth=1)
        beam.NumberOfWedges = "0"
        beam.NumberOfCompensators = "0"
        beam.NumberOfBoli = "0"
        beam.NumberOfBlocks = "0"
        jaws = []
        for kind in ("X", "Y"):
            jaw = Dataset()
            jaw.RTBeamLimitingDeviceType = kind
            jaw.NumberOfLeafJawPairs = "1"
            jaws.append(jaw)
        beam.BeamLimitingDeviceSequence = jaws
        beam.FinalCumulativeMetersetWeight = "1"
        beam.NumberOfControlPoints = "2"
        beam.ReferencedPatientSetupNumber = "1"
        first, last = Dataset(), Dataset()
        first.ControlPointIndex = "0"
        first.NominalBeamEnergy = "6"
        positions = []
        for kind in ("X", "Y"):
            position = Dataset()
            position.RTBeamLimitingDeviceType = kind
            position.LeafJawPositions = ["-50", "50"]
            positions.append(position)
        first.BeamLimitingDevicePositionSequence = positions
        first.GantryAngle = "0"
        first.GantryRotationDirection = "NONE"
        first.BeamLimitingDeviceAngle = "0"
        first.BeamLimitingDeviceRotationDirection = "NONE"
        first.PatientSupportAngle = "0"
        first.PatientSupportRotationDirection = "NONE"
        first.TableTopEccentricAngle = "0"
        first.TableTopEccentricRotationDirection = "NONE"
        first.IsocenterPosition = _decimals([40.0, 0.0, self.count * SLICE_SPACING_MM / 2])
        first.CumulativeMetersetWeight = "0"
        last.ControlPointIndex = "1"
        last.CumulativeMetersetWeight = "1"
        beam.ControlPointSequence = [first, last]
        return beam

    def dose(self) -> Dataset:
        """Return an RT Dose (PS3.3 A.18), in implicit VR, where private elements lose their VR."""
        series_uid = self.marker.uid("SeriesInstanceUID (0020,000E) of the RTDOSE")
        dataset = self.base(RTDOSE, self.dose_uid, series_uid, 4)
        self._image(dataset, DOSE_ROWS, DOSE_COLUMNS, DOSE_SPACING_MM)
        edge = -DOSE_SPACING_MM * (DOSE_COLUMNS - 1) / 2
        dataset.ImagePositionPatient = _decimals([edge, edge, 0.0])
        dataset.SliceThickness = ""
        dataset.NumberOfFrames = str(self.count)
        dataset.FrameIncrementPointer = 0x3004000C
        dataset.GridFrameOffsetVector = _decimals(
            [index * SLICE_SPACING_MM for index in range(self.count)]
        )
        dataset.DoseUnits = "GY"
        dataset.DoseType = "PHYSICAL"
        dataset.DoseSummationType = "PLAN"
        dataset.DoseGridScaling = "0.0003"
        dataset.ReferencedRTPlanSequence = [_reference(RTPLAN, self.plan_uid)]
        dataset.ReferencedStructureSetSequence = [_reference(RTSTRUCT, self.struct_uid)]
        dataset.BitsAllocated = 32
        dataset.BitsStored = 32
        dataset.HighBit = 31
        dataset.add_new(0x7FE00010, "OW", _dose_pixels(self.count))
        return self.finish(dataset, ImplicitVRLittleEndian)

    def lettered(
        self,
        sop_class: str,
        rows: int,
        columns: int,
        regions: Sequence[pixel_text.Region],
        number: int,
    ) -> tuple[Dataset, tuple[str, ...]]:
        """Return an image that says that there is no text in it, and the words that are in it."""
        what = f"lettered image {number}"
        uid = self.marker.uid(f"SOPInstanceUID (0008,0018) of {what}")
        series_uid = self.marker.uid(f"SeriesInstanceUID (0020,000E) of {what}")
        dataset = self.base(sop_class, uid, series_uid, 5)
        dataset.StudyInstanceUID = self.marker.uid(f"StudyInstanceUID (0020,000D) of {what}")
        dataset.InstanceNumber = str(number)
        self._image(dataset, rows, columns, PIXEL_SPACING_MM)
        dataset.Modality = "US" if sop_class == ULTRASOUND else "OT"
        dataset.ImageType = ["DERIVED", "SECONDARY"]
        dataset.BitsAllocated = 8
        dataset.BitsStored = 8
        dataset.HighBit = 7
        name = pixel_text.name_of(self.marker.token)
        pixels, words = pixel_text.write_name(uid, columns, rows, regions, name)
        dataset.add_new(0x7FE00010, "OB", _even(pixels))
        return self.finish(dataset, ExplicitVRLittleEndian), words

    def captures(self) -> list[Lettered]:
        """Return a secondary capture (PS3.3 A.8.1) and an ultrasound image (PS3.3 A.6)."""
        middle = (0, CAPTURE_ROWS // 3, CAPTURE_COLUMNS, BANNER_ROWS)
        capture, words = self.lettered(
            SECONDARY_CAPTURE, CAPTURE_ROWS, CAPTURE_COLUMNS, [middle], 1
        )
        capture.ConversionType = "WSD"
        banner = (0, 0, ULTRASOUND_COLUMNS, BANNER_ROWS)
        ultrasound, more = self.lettered(
            ULTRASOUND, ULTRASOUND_ROWS, ULTRASOUND_COLUMNS, [banner], 2
        )
        ultrasound.ManufacturerModelName = "Undeclared"
        return [
            Lettered("capture", capture, words),
            Lettered("ultrasound image", ultrasound, more),
        ]

    def declared(self, rules: Sequence[ctp_pixels.PixelRule]) -> tuple[list[Lettered], list[str]]:
        """Return an image for each declaration with regions, and what is too large to be made."""
        made: list[Lettered] = []
        too_large = []
        left = ALL_DECLARED
        for index, rule in enumerate(rules):
            if not rule.regions:
                continue
            what = f"image for ctp_pixel_rules[{index}]"
            rows, columns = int(rule.rows), int(rule.columns)
            if rows * columns > min(left, LARGEST_DECLARED) or max(rows, columns) > LONGEST_SIDE:
                too_large.append(what)
                continue
            left -= rows * columns
            sop_class = rule.sop_class or ULTRASOUND
            # What several declarations are for is blanked in the regions of all of them.
            device = (rule.manufacturer, rule.model, rule.rows, rule.columns)
            regions = tuple(
                region
                for each in rules
                if each.sop_class in ("", sop_class)
                and device == (each.manufacturer, each.model, each.rows, each.columns)
                for region in each.regions
            )
            number = FIRST_DECLARED + index
            dataset, words = self.lettered(sop_class, rows, columns, regions, number)
            dataset.Manufacturer = rule.manufacturer
            dataset.ManufacturerModelName = rule.model
            made.append(Lettered(what, dataset, words, regions))
        return made, too_large


def make_study(
    token: str,
    known: bool,
    ct_instances: int = 5,
    pseudonym_prefix: str = "",
    issuer: str | None = None,
    pixel_rules: Sequence[Mapping[str, Any]] | None = None,
    blanks: bool = True,
) -> Study:
    """Build the synthetic study of a proof.

    Args:
        token: ten digits, the first one 1; equal tokens give equal studies.
        known: whether it is for the patient whom KeyDB knows, or for the one whom it does not.
        ct_instances: number of CT slices, `MIN_CT_INSTANCES` to `MAX_CT_INSTANCES`.
        pseudonym_prefix: what the pseudonym begins with, as for `pseudonym_of`.
        issuer: (0010,0021) of the objects; a mark where it is not given. CTP knows a patient by the
            issuer too, so that a mark would not be let through.
        pixel_rules: what the site declares, as ctp_pixel_rules: the known patient then has images
            with a name in their pixels too. Without it, none.
        blanks: as `Study.blanks`.

    Raises:
        ValueError: the token, the number of slices, the prefix or a declaration is out of range.
        RuntimeError: pydicom, or what writes the names, is missing on this host.
    """
    check_token(token)
    if PYDICOM_ERROR:
        raise RuntimeError(
            f"pydicom is missing on this host ({PYDICOM_ERROR}). Install python3-pydicom."
        )
    if not MIN_CT_INSTANCES <= ct_instances <= MAX_CT_INSTANCES:
        raise ValueError(
            f"ct_instances is {ct_instances}; it may be {MIN_CT_INSTANCES} to {MAX_CT_INSTANCES}."
        )
    wrong = ctp_pixels.problems(pixel_rules or [])
    if wrong:
        raise ValueError(" ".join(wrong))
    builder = _Builder(token, known, ct_instances, issuer)
    datasets = [builder.slice(index) for index in range(ct_instances)]
    datasets += [builder.structure_set(), builder.plan(), builder.dose()]
    captures: list[Lettered] = []
    declared: list[Lettered] = []
    too_large: list[str] = []
    if known and pixel_rules is not None:
        captures = builder.captures()
        declared, too_large = builder.declared(ctp_pixels.rules(pixel_rules))
    moment = builder.moment
    return Study(
        token=token,
        patient_id=builder.patient_id,
        pseudonym=pseudonym_of(token, pseudonym_prefix),
        datasets=datasets,
        texts=builder.marker.texts,
        uids=builder.marker.uids,
        dates={moment.birth: "the date of birth", moment.study: "the date of the study"},
        time=moment.time,
        captures=captures,
        declared=declared,
        too_large=too_large,
        blanks=blanks,
    )


def build_studies(
    report: Report,
    token: str,
    ct_instances: int,
    pseudonym_prefix: str,
    pixel_rules: Sequence[Mapping[str, Any]],
    blanks: bool,
) -> list[Study]:
    """Return the known and the unknown patient's study; a row says so where that fails."""
    try:
        return [
            make_study(token, known, ct_instances, pseudonym_prefix, None, pixel_rules, blanks)
            for known in (True, False)
        ]
    except (RuntimeError, ValueError) as error:
        report.add(
            "The proof can build its study",
            [str(error)],
            "",
            "Install the packages of verify_packages (site.yml does), and see the variables"
            " verify_ct_instances and ctp_pixel_rules.",
        )
        return []


def write_object(dataset: Dataset, path: Path) -> None:
    """Write a dataset as a DICOM file (PS3.10)."""
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    implicit = syntax == ImplicitVRLittleEndian
    if int(pydicom.__version__.split(".")[0]) >= 3:
        pydicom.dcmwrite(
            path, dataset, implicit_vr=implicit, little_endian=True, enforce_file_format=True
        )
        return
    # pydicom 2 takes the encoding from the dataset.
    dataset.is_implicit_VR = implicit
    dataset.is_little_endian = True
    pydicom.dcmwrite(path, dataset, write_like_original=False)


def write_study(study: Study, directory: Path) -> list[Path]:
    """Write the objects of a study into a directory, one file each, and return the files.

    File names tell nothing of the patient, so that they may appear in a command line.
    """
    files = []
    for number, dataset in enumerate(study.datasets, start=1):
        files.append(directory / f"{number:04d}.dcm")
        write_object(dataset, files[-1])
    return files


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
