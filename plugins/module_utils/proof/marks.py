"""Marks in a data set: what stands for a name in each element that could hold one."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.proof.names import (
    UID_ROOT,
)

# Who needs pydicom and has none is told by `phantom.PYDICOM_ERROR`.
with contextlib.suppress(ImportError):
    from pydicom.datadict import keyword_for_tag
    from pydicom.dataset import Dataset


DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"

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


class Marker:
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
class Moment:
    """The two dates and the time of day of a study."""

    birth: str
    study: str
    time: str


def moment_of(token: str) -> Moment:
    """Return the dates and the time of the study of this token."""
    digest = hashlib.sha256(f"moment {token}".encode()).digest()

    def date(first_year: int, part: bytes) -> str:
        # Neither a first day nor a January: those are what de-identification puts in.
        return f"{first_year + part[0] % 30:04d}{2 + part[1] % 11:02d}{2 + part[2] % 27:02d}"

    fraction = int.from_bytes(digest[9:12], "big") % 900000 + 100000
    time = f"{1 + digest[6] % 22:02d}{1 + digest[7] % 58:02d}{1 + digest[8] % 58:02d}.{fraction}"
    return Moment(birth=date(1931, digest[0:3]), study=date(1961, digest[3:6]), time=time)


@cache
def describe_tag(tag: Any) -> str:
    """Return a tag as ``PatientName (0010,0010)``; a private one without a name."""
    number = int(tag)
    return f"{keyword_for_tag(number)} ({number >> 16:04X},{number & 0xFFFF:04X})".strip()


def even(data: bytes) -> bytes:
    """Return a value padded to an even length (PS3.5 6.2)."""
    return data + b"\0" * (len(data) % 2)


def _hidden_value(vr: str, tag: int, place: str, marker: Marker, moment: Moment) -> Any:
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
        return even(mark.encode())
    return {"PN": f"Proof^{mark}", "UR": f"http://proof.example/{mark}"}.get(vr, f"Proof {mark}")


def hide(dataset: Dataset, tag: int, vr: str, within: str, marker: Marker, m: Moment) -> None:
    """Put a mark into an element of a data set, whatever it held."""
    place = f"{within}{describe_tag(tag)}"
    dataset.add_new(tag, vr, _hidden_value(vr, tag, place, marker, m))


def hide_private(
    dataset: Dataset, group: int, within: str, marker: Marker, moment: Moment, depth: int = 0
) -> None:
    """Add a block of private elements with a creator (PS3.5 7.8), one of them a sequence."""
    where = f"{within}private group {group:04X}"
    block = dataset.private_block(group, f"PROOF {marker.text(f'{where}, creator')}", create=True)
    for offset, vr in enumerate(("LO", "PN", "SH", "UT", "UI", "OB", "DA", "DS"), start=0x10):
        place = f"{where}, {vr}"
        block.add_new(offset, vr, _hidden_value(vr, 0, place, marker, moment))
    block.add_new(0x20, "UN", even(marker.text(f"{where}, UN").encode()))
    if depth < 1:
        item = Dataset()
        hide(item, 0x00100010, "PN", f"{where}, SQ > ", marker, moment)
        hide_private(item, group, f"{where}, SQ > ", marker, moment, depth + 1)
        block.add_new(0x30, "SQ", [item])


def _item(within: str, marker: Marker, moment: Moment, depth: int = 0) -> Dataset:
    """Return a sequence item with marks in a few elements, private ones and deeper items."""
    item = Dataset()
    item.ReferencedSOPClassUID = DETACHED_STUDY
    for tag, vr in (
        (0x00080022, "DA"),
        (0x00080050, "SH"),
        (0x00080080, "LO"),
        (0x00081155, "UI"),
        (0x00100010, "PN"),
        (0x00100020, "LO"),
        (0x00101040, "LO"),
    ):
        hide(item, tag, vr, f"{within} > ", marker, moment)
    if depth < 2:
        deeper = f"{within} > {describe_tag(0x00081032)}"
        code = _item(deeper, marker, moment, depth + 1)
        code.CodeValue = "PROOF"
        code.CodingSchemeDesignator = "99PROOF"
        code.CodeMeaning = f"Proof {marker.text(f'{deeper} > {describe_tag(0x00080104)}')}"
        item.ProcedureCodeSequence = [code]
    else:
        hide_private(item, 0x0029, f"{within} > ", marker, moment, depth=1)
    return item


def hidden_header(marker: Marker, moment: Moment) -> Dataset:
    """Return the header that every object of the study carries: nothing but marks."""
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    for places in (PROFILE_PLACES, UNLISTED_PLACES):
        for vr, tags in places.items():
            for tag in tags.split():
                hide(header, int(tag, 16), vr, "", marker, moment)
    for tag in UNLISTED_SEQUENCES.split():
        hide(header, int(tag, 16), "SQ", "", marker, moment)
    for group in (0x0009, 0x0019, 0x0029, 0x0051, 0x00E1, 0x7FE1):
        hide_private(header, group, "", marker, moment)
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
