"""Values that identify nobody because the standard, or the field, defines them.

De-identification here keeps no free text at all. A text or code string survives only when it is
one of these words; the rest of what survives are numbers, mapped UIDs and pixel data. That is the
Clean Descriptors Option (PS3.15 E.3.6) in its strictest reading: what may stay is listed.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from pydicom.sr._concepts_dict import concepts
from pydicom.sr._snomed_dict import mapping as snomed


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CODE_STRINGS = _words(
    """
    YES NO Y N NONE OTHER UNKNOWN ON OFF TRUE FALSE LEFT RIGHT BOTH UNPAIRED L R B U A P H F
    AL AR PL PR LH RH LF RF AH AF PH PF FH FL FR HF HL HR

    ORIGINAL DERIVED PRIMARY SECONDARY AXIAL LOCALIZER REFORMATTED MPR AVERAGE MAX_IP MIN_IP VOLUME
    RESAMPLED ADDITION SUBTRACTION MULTIPLICATION DIVISION CSA CSAPARALLEL SPI HELIX DYNAMIC STATIC
    WHOLE_BODY GATED TOMO RECON_TOMO RECON TRANSMISSION EMISSION IMAGE RANGE PORTAL SIMULATOR DRR
    RADIOGRAPH BLANK FLUENCE M P R I M_FFE M_SE M_IR PHASE MAGNITUDE REAL IMAGINARY NORM DIS2D DIS3D
    ND FM FFE SE TOF MAP DIFFUSION ADC TRACEW TRACE FA SCREENING CINE STRESS REST MIXED SINGLE_A
    SINGLE_B PLANE VOLUMETRIC DISTORTED ORIGINAL_PRIMARY PROJECTION CONE_BEAM

    AR AS ASMT AU BDUS BI BMD CD CF CP CR CS CT CTPROTOCOL DD DF DG DM DMS DOC DS DX EC ECG EEG EMG
    EOG EPS ES FA FID FS GM HC HD IO IOL IVOCT IVUS KER KO LEN LP LS M3D MA MG MR MS NM OAM OCT OP
    OPM OPR OPT OPTBSV OPTENF OPV OSS OT PLAN POS PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT
    RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF ST STAIN TEXTUREMAP TG US VA VF
    VL XA XAPROTOCOL XC

    HFP HFS HFDR HFDL FFDR FFDL FFP FFS LFP LFS RFP RFS AFDR AFDL PFDR PFDL STANDARD
    MONOCHROME1 MONOCHROME2 RGB YBR_FULL YBR_FULL_422 YBR_PARTIAL_420 YBR_ICT YBR_RCT XYB
    COLOR MONOCHROME TRUE_COLOR PALETTE COLORMAP PALETTE_COLOR
    ISO_10918_1 ISO_14495_1 ISO_15444_1 ISO_15444_15 ISO_18181_1 ISO_13818_2 ISO_14496_10 LOSSY
    LOSSLESS IDENTITY INVERSE LINEAR LINEAR_EXACT SIGMOID HU LIN LOG DISP MODALITY NORMAL

    ABDOMEN ADRENAL ANKLE AORTA ARM ARMARTERY BLADDER BRAIN BREAST BRONCHUS BUTTOCK CALCANEUS CALF
    CAROTID CEREBELLUM CERVIX CHEEK CHEST CHESTABDOMEN CHESTABDPELVIS ABDOMENPELVIS CHOROIDPLEXUS
    CIRCLEOFWILLIS CLAVICLE COCCYX COLON CSPINE CTSPINE DUODENUM EAR ELBOW ESOPHAGUS EXTREMITY EYE
    EYELID FACE FEMUR FINGER FOOT GALLBLADDER HAND HEAD HEADNECK HEART HIP HUMERUS ILEUM ILIUM IAC
    JAW JAWTMJ JEJUNUM KIDNEY KNEE LARYNX LEG LIVER LSPINE LSSPINE LUNG MAXILLA MEDIASTINUM MOUTH
    NECK NECKCHEST NECKCHESTABDOMEN NECKCHESTABDPELV NOSE OPTICCANAL ORBIT OVARY PANCREAS PAROTID
    PATELLA PELVIS PENIS PHARYNX PROSTATE RECTUM RIB SCALP SCAPULA SCLERA SCROTUM SHOULDER SINUS
    SKULL SPINE SPLEEN SSPINE STERNUM STOMACH SUBMANDIBULAR TESTIS THIGH THUMB THYMUS THYROID
    TLSPINE TOE TONGUE TRACHEA TSPINE UPRARM URETER URETHRA UTERUS VAGINA VULVA WHOLEBODY WRIST
    ZYGOMA

    CW CC SPIRAL SEQUENCE SEQUENCED CONSTANT_ANGLE STATIONARY FREE WEDGE BOWTIE STRIP BUTTERFLY
    FLAT MULTIPLE TUNGSTEN RHENIUM MOLYBDENUM ALUMINUM COPPER LEAD AUTOMATIC MANUAL SEMIAUTOMATIC
    FIXED SMALL LARGE MEDIUM BODY CONTINUOUS PULSED AXIS XYZ XY_MOD Z_EC XYZ_EC Z_MOD

    EP GR RM IR PC MP VE SK SS TRSS MTC SP OSP PP FC PFF PFP RG_RESPIRATORY CG PPG PER RO FI ROW COL
    COLUMN 2D 3D 1D OBLIQUE TRANSVERSE SAGITTAL CORONAL RECTANGULAR RADIAL CARTESIAN T1 T2 T2_STAR
    PROTON_DENSITY FLUID_ATTENUATED FLOW_ENCODED TEMPERATURE PERFUSION DIRECTIONAL ISOTROPIC BIPOLAR
    UNIPOLAR BREATH_HOLD REALTIME GATING TRACKING RETROSPECTIVE PROSPECTIVE RESPIRATORY CARDIAC
    BELT NASAL_PROBE CO2_SENSOR NAVIGATOR MR_PHASE ECG PULSE PHASE_ENCODE COMPOSITE QUADRATURE
    SURFACE MULTICOIL

    BQML CNTS GML CM2ML PCNT PROPCNTS PROPCPS CPS CM2 1CM MLMINGML MLMING MLG UMOLML UMOLMINML
    MGMINML MMLM SUVBW SUVLBM SUVBSA SUVIBW STDDEV DECY ATTN SCAT DTIM MOTN PMOT CLN RAN RADL DCAL
    NORM START ADMIN BLOB DLYD SING TIME SLICE FRAME RR ROTATING_GANTRY PET COLLIMATOR NARR WIDE

    GY RELATIVE PHYSICAL EFFECTIVE ERROR RBE PLAN_OVERVIEW MULTI_PLAN MODEL BEAM BEAM_SESSION BRACHY
    BRACHY_SESSION CONTROL_POINT FRACTION FRACTION_SESSION RECORD PLAN CUMULATIVE DIFFERENTIAL
    NATURAL CM3 PERCENT PER_U PATIENT FIXED_FRAME POINT CLOSED_PLANAR OPEN_PLANAR OPEN_NONPLANAR
    CLOSEDPLANAR_XOR SEMIAUTO EXTERNAL PTV CTV GTV TREATED_VOLUME IRRAD_VOLUME BOLUS AVOIDANCE ORGAN
    MARKER REGISTRATION ISOCENTER CONTRAST_AGENT CAVITY BRACHY_CHANNEL BRACHY_ACCESSORY
    BRACHY_SRC_APP BRACHY_CHNL_SHLD SUPPORT FIXATION DOSE_REGION CONTROL DOSE_MEASUREMENT DEVICE
    REL_MASS_DENSITY REL_ELEC_DENSITY EFFECTIVE_Z EFF_Z_PER_A REL_STOP_RATIO ELEM_FRACTION
    MEAN_EXCI_ENERGY LINEAR_CELL_KILL VOLUME_DOSE TARGET ORGAN_AT_RISK COORDINATES SITE
    CURATIVE PALLIATIVE PROPHYLACTIC VERIFICATION MACHINE_QA RESEARCH SERVICE TREATMENT_DEVICE
    TREATMENT OPEN_PORTFILM TRMT_PORTFILM CONTINUATION SETUP PHOTON ELECTRON NEUTRON PROTON ION
    MU MINUTE X Y ASYMX ASYMY MLCX MLCY DYNAMIC_WEDGE MOTORIZED HARD SHIELDING APERTURE
    APPROVED UNAPPROVED REJECTED CONFORMAL IMRT VMAT ARC TECHNIQUE ISO SAD SSD FIXED_SSD FIXATIONS
    PHOTON_CIRC PHOTON_SQUARE PHOTON_RECT ELECTRON_SQUARE ELECTRON_RECT ELECTRON_CIRC STEREOTACTIC
    INTRAORAL ACRYLIC INTRALUMINARY INTRACAVITARY INTERSTITIAL CONTACT PERMANENT HDR MDR LDR PDR
    DOSIMETER IPSILATERAL AIRGAP HETERO_CORR WATER HETEROGENEOUS ROI_OVERRIDE IMAGE_OVERRIDE
    IMAGE_DOSE NOT_RECOMMENDED POSITIVE NEGATIVE

    DICOM BINARY FRACTIONAL PROBABILITY OCCUPANCY LABELMAP COMPLETE COMPLETED PARTIAL UNVERIFIED
    VERIFIED FINAL PRELIM CONTAINER TEXT NUM CODE DATETIME DATE UIDREF PNAME SCOORD SCOORD3D TCOORD
    WAVEFORM COMPOSITE_REF CONTAINS HAS_OBS_CONTEXT HAS_ACQ_CONTEXT HAS_CONCEPT_MOD HAS_PROPERTIES
    INFERRED_FROM SELECTED_FROM SEPARATE MULTIPOINT POLYLINE POLYGON CIRCLE ELLIPSE ELLIPSOID DCMR
    RIGID RIGID_SCALE AFFINE REFORMAT UNMODIFIED MODIFIED REMOVED VALID INVALID PIXEL DISPLAY
    """
) | {
    "HAS OBS CONTEXT",
    "HAS ACQ CONTEXT",
    "HAS CONCEPT MOD",
    "HAS PROPERTIES",
    "INFERRED FROM",
    "SELECTED FROM",
    "PALETTE COLOR",
    "ROTATING GANTRY",
    "CT_SOM5 SPI",
    "OBLIQUE 2D",
}
"""Defined terms and enumerated values (PS3.3) that a code string (CS) may keep."""

MANUFACTURERS = _words(
    """
    Accuray Agfa Brainlab Canon Elekta Fujifilm GE Hitachi Hologic IBA Mevion MIM Nucletron Philips
    RaySearch Samsung Shimadzu SIEMENS Siemens Toshiba TOSHIBA Varian ViewRay
    """
) | {
    "Agfa HealthCare",
    "CANON_MEC",
    "Canon Medical Systems",
    "CMS, Inc.",
    "ELEKTA",
    "GE MEDICAL SYSTEMS",
    "MIM Software Inc.",
    "Philips Medical Systems",
    "PHILIPS",
    "RaySearch Laboratories",
    "SAMSUNG",
    "Siemens Healthineers",
    "Siemens Healthcare",
    "TOSHIBA_MEC",
    "United Imaging Healthcare",
    "UIH",
    "Varian Medical Systems",
}
"""Makers of scanners and planning systems: they identify a product line, nobody's patient."""

RESCALE_TYPES = frozenset({"HU", "HU_MOD", "US", "OD", "MGML", "Z_EFF", "ED", "EDW", "PCT", "SUV"})
"""Rescale Type (0028,1054): defined terms of PS3.3 C.11.1.1.2."""

CONVOLUTION_KERNEL = re.compile(
    r"(?:[BHDIUJTQ][rfvpczu]?\d{2}[a-z]?|FC\d{2}|STANDARD|SOFT|BONE|BONEPLUS|LUNG|DETAIL|EDGE|CHEST"
    r"|A|B|C|D|E|L|YA|YB|YC|YD|SA|SB|\d)"
)
"""Reconstruction kernels by which image features are compared; too narrow to hold a name."""

_SIDE = r"(?:[_ ](?:L|R|LT|RT|Left|Right|Sup|Inf|Ant|Post|Bilat))?"
_ORGANS = (
    "A_Aorta|Adrenal|Anal_?Canal|Anus|Aorta|Atrium|Bag_Bowel|Bladder|Body|Bolus|Bone|Bone_?Marrow"
    "|Bowel(?:_(?:Bag|Large|Small|Space))?|Brachial_?Plexus|BrachialPlex|Brain|Brain_?Stem|Breast"
    "|Breasts|Bronchus|BronchusMain|Carina|Carotid|Cauda_?Equina|Cerebellum|Cerebrum|Chest_?wall"
    "|Chiasm|OpticChiasm|Cochlea|Colon(?:_Sigmoid)?|Cornea|Couch(?:_?(?:Surface|Interior))?"
    "|Duodenum|Ear_Middle|Ears|Esophagus|Oesophagus|External|Eye|Eyes|Femoral_?Head|Femur"
    "|Femur_Head|Femur_Neck|Fiducial|GallBladder|Genitals|Glnd_(?:Lacrimal|Parotid|Submand|Thyroid)"
    "|GreatVes|Heart|Hippocampus|Humerus|Hypothalamus|Ileum|Implant|Isocent(?:er|re)|Jejunum|Joint_TM"
    "|Kidney|Kidneys|LAD|Larynx|Lens|Lips|Liver|Lobe_Temporal|Lung|Lungs|Mandible|Marker|Mediastinum"
    "|Musc_Constrict|Nasopharynx|Optic_?Nerve|OpticNrv|Oral_?Cavity|Cavity_Oral|Orbit|Ovary|Pancreas"
    "|Parotid|Parotids|PelvicBones|Penile_?Bulb|PenileBulb|Pericardium|Pharynx|Pituitary|Prostate"
    "|Prostate_?Bed|Rectum|Retina|Rib|Ribs|Sacrum|Seminal_?Vesicles?|SeminalVes|Sigmoid|Skin|Skull"
    "|Spc_Bowel|Spinal_?Canal|SpinalCanal|Spinal_?Cord|SpinalCord|Spleen|Sternum|Stomach"
    "|Submandibular|SubmandGlnd|Testis|Thyroid|Tongue|Trachea|Urethra|Uterus|Vagina|Ventricle"
    "|VBs?|Vertebrae|Lumbar|Pelvis|Liver-GTV|Lungs-GTV"
)
_TARGETS = (
    r"(?:PTV|CTV|GTV|ITV|IGTV|ICTV|HTV|TV)[pnlbvm]{0,2}\d{0,2}"
    r"(?:[_ ](?:\d{2,4}|\d{2}Gy|High|Mid|Int|Low|Boost|Eval|Opt|Breast|Nodes?|Nodal|Primary|"
    r"Prostate|SV|LN|Chestwall))?"
)
STRUCTURE_NAME = re.compile(
    rf"z?_?(?:{_TARGETS}|(?:{_ORGANS}){_SIDE})(?:[_ ](?:PRV\d{{0,2}}|Eval|Opt|Ring))?",
    re.IGNORECASE,
)
"""Names of targets and organs in the way of AAPM TG-263, with the common older spellings."""


def is_code_string(value: str) -> bool:
    """Whether a CS value is one of the listed defined terms."""
    return value in CODE_STRINGS


def is_structure_name(value: str) -> bool:
    """Whether an ROI name is a standard name of a target or organ, and nothing more."""
    return len(value) <= 64 and STRUCTURE_NAME.fullmatch(value) is not None


@cache
def _meanings() -> dict[tuple[str, str], str]:
    # Underscored in pydicom, but the version is pinned by hash: there is no public index by code.
    found: dict[tuple[str, str], str] = {}
    schemes: dict[str, Any] = concepts
    for scheme, by_keyword in schemes.items():
        for by_code in by_keyword.values():
            for code, (meaning, *_) in by_code.items():
                # Where a code has several keywords, the shortest meaning is the plain one.
                known = found.get((scheme, code), meaning)
                found[scheme, code] = min(known, meaning, key=len)[:64]
    return found


def known_concept(code: str, scheme: str) -> tuple[str, str, str] | None:
    """Code, scheme and standard meaning of a coded concept (PS3.16); ``None`` for any other.

    The meaning is the standard's own, not the sender's. Old SNOMED-RT codes become SNOMED CT.
    """
    if scheme in ("SRT", "SNM3", "99SDM"):
        code = snomed["SRT"].get(code, "")
        scheme = "SCT"
    meaning = _meanings().get((scheme, code))
    return (code, scheme, meaning) if meaning is not None else None
