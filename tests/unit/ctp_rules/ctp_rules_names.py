"""Structure sets and segmentations with names of every kind, made anew and synthetic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ctp_rules_objects import EXPLICIT, Element, Writer, base


def _words(text: str) -> list[str]:
    return text.split()


RTSTRUCT, SEGMENTATION = b"1.2.840.10008.5.1.4.1.1.481.3", b"1.2.840.10008.5.1.4.1.1.66.4"

# What a clinic's structure set has: 24 names of TG-263 or by its rules, 16 of its own.
CLINICAL_STANDARD = _words("""
    Body SpinalCord SpinalCord_PRV05 Brainstem Brainstem_PRV03 Parotid_L Parotid_R Glnd_Submand_L
    Glnd_Submand_R Bone_Mandible Cavity_Oral Larynx Esophagus Lens_L Lens_R OpticNrv_L OpticChiasm
    GTVp GTVn_CT1 CTVp_High CTVn_Low PTV_7000 PTV_5425x35 PTV_6300-03
""")
CLINICAL_OWN = (
    """
    Rachen|Hot spot|95% Isodose|Zunge re|Halo 2|NS_help|Lymphknoten li|Doe, Jane|Körper|avoid!
    |Bolus Dr Mayer|Schulter bds.|dosis 12345|PTV_Mueller|Tumor alt 2019|test
""".replace("\n    ", "")
    .strip()
    .split("|")
)
CLINICAL = [*CLINICAL_STANDARD, *CLINICAL_OWN]

# Names by TG-263's rules, beside those that it lists.
BY_THE_RULES = _words("""
    PTVp PTV1 GTVp2 CTVsb GTVpar GTVvas IGTVp ICTVn2 GTVp1_CT1PT1 PTV_MR2_Prostate CTV_A_Aorta
    PTV_High PTV_Mid01 PTV_5040 PTV_4005 PTV_40.05 PTV_1203cGy PTV_50.4Gy PTV_50p4Gy
    PTV_Liver_2000x3 PTV_Liver_20Gyx3 PTV-03
    CTVp2-05 PTV!_5040 PTV_Boost CTV_Preop Brain~ Lung~_L Lungs^Ex PTV^Eval2 zPTVopt z_Rectum zRing
    _PTV OpticNrv_PRV05_L OpticChiasm_PRV3 PRV03_Brainstem Bolus_05mm Liver-PTV E-PTV_5040
    EXTERNAL BRACHY_CHANNEL L_Kidney
""")
# Names that stayed before, in older spellings.
OLDER = [
    *("Lung L", "Kidney Right", "Spinal_Cord", "FemoralHead_L", "Oesophagus", "HEART", "ptv 60"),
    *("CTV 50.4", "couch", "Bowel_Bag_Opt", "Glnd_Parotid Left", "PTV_Nodes", "SeminalVesicles"),
]

# None of these may leave: a person, a date, a number of somebody, an address, a look-alike.
HOSTILE = [
    *("Doe", "Doe^Jane", "Jane Doe", "PTV_Doe", "PTV Doe", "Heart_Doe", "Doe_Heart", "L_Doe"),
    *("GTV^Doe John", "GTV^Doe", "PTV_6000 Doe", "Lung_L (Doe)", "Lung_L-Doe", "PTV_Dr Doe"),
    *("Heart_12345678", "PTV_12345678", "12345678", "Heart_1234", "PTV_12345", "PTV125040"),
    *("Heart_MRN123", "Kidney_K123456", "PTV_JD65", "PTV1_5040123", "Heart^1234", "A1234567"),
    *("19500102", "PTV_19500102", "Heart_1950-01-02", "PTV 02.01.1950", "PTV_12-03-65", "PTV_1950"),
    *("PTV_1203", "PTV_3112-24", "PTV_1231", "PTV1105", "PTV_65.02", "PTV_65p12", "PTV_Liver_1203"),
    *("Lung_12_03", "PTV_2024", "PTV_0412", "PTV_12.03", "Heart 12 03 65", "02JAN1950"),
    *("PTV_555-1234", "jane@example.org", "+49 30 1234567", "ROI", "ROI 3", "ROI 2", "roi"),
    *("Heart\nDoe", "Heart\tDoe", "Heart\\Doe", "Heart;Doe", "Heart, Doe", "Heart=Doe"),
    # A Cyrillic e, full width, a Kelvin sign, a long s, a dotless i, a combining accent.
    *("H\u0435art", "\uff28eart", "\u212aidney_L", "Brea\u017fts", "L\u0131ver", "Heart\u0301"),
    *(
        "Heart\u200b",
        "Heart\u00a0",
        "PTV\u00a06000",
        "Heart" + "_L" * 40,
        "H" * 65,
        "PTV" + "5" * 62,
    ),
    *("Heart_L_L_L_L_L_L_L_L_L_L_L_L_L_L_L_L_L_L_L_L_L_L_L_L_L_L_L_L_L_L", "Smith", "Kidneyson"),
]


def structure_set(
    names: Iterable[tuple[bytes, bytes]],
    labels: Iterable[tuple[bytes, bytes]] = (),
    syntax: str = EXPLICIT,
) -> bytes:
    """Return a structure set with these ROI numbers and names, and labels of observations.

    The texts are UTF-8. An empty number stands for one that is missing.
    """
    rois = [_item(0x30060022, number, 0x30060026, "LO", name) for number, name in names]
    observations = [_item(0x30060084, number, 0x30060085, "SH", label) for number, label in labels]
    more = [Element(0x30060020, "SQ", rois)]
    if observations:
        more.append(Element(0x30060080, "SQ", observations))
    return _file(RTSTRUCT, b"RTSTRUCT", more, syntax)


def numbered(names: Iterable[str], syntax: str = EXPLICIT) -> bytes:
    """Return a structure set with these names, numbered from 1."""
    encoded = [(b"%d" % number, name.encode()) for number, name in enumerate(names, 1)]
    return structure_set(encoded, encoded, syntax)


def segmentation(labels: Iterable[str]) -> bytes:
    """Return a segmentation with these labels, numbered from 1."""
    items = [
        [
            Element(0x00620004, "US", number.to_bytes(2, "little")),
            Element(0x00620005, "LO", label.encode()),
        ]
        for number, label in enumerate(labels, 1)
    ]
    return _file(SEGMENTATION, b"SEG", [Element(0x00620002, "SQ", items)], EXPLICIT)


def _item(number_tag: int, number: bytes, tag: int, vr: str, name: bytes) -> list[Element]:
    item = [Element(tag, vr, name)]
    if number:
        item.insert(0, Element(number_tag, "IS", number))
    return item


def _file(sop_class: bytes, modality: bytes, more: Sequence[Element], syntax: str) -> bytes:
    own = {0x00080016: sop_class, 0x00080060: modality}
    elements = [
        Element(each.tag, each.vr, own.get(each.tag, each.value)) for each in base(b"ISO_IR 192")
    ]
    return Writer(syntax).file([*elements, *more])
