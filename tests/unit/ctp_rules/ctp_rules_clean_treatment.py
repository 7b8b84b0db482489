"""Objects of radiotherapy of the clean study (``ctp_rules_clean``)."""

from __future__ import annotations

from typing import Any

from ctp_rules_clean_parts import (
    BRACHYRECORD,
    CT,
    FRAME,
    IONPLAN,
    RTDOSE,
    RTIMAGE,
    RTPLAN,
    RTRECORD,
    RTSTRUCT,
    SLICES,
    STUDY,
    in_space,
    made,
    pixels,
    reference,
    start,
    uid,
)
from pydicom.dataset import Dataset


def structure_set() -> Dataset:
    """Return an RT Structure Set (PS3.3 A.19)."""
    dataset = start(RTSTRUCT, "RTSTRUCT", "rtstruct")
    images = [reference(CT, uid("ct", number)) for number in range(1, SLICES + 1)]
    series = made(SeriesInstanceUID=f"{uid('ct')}.9", ContourImageSequence=images)
    study = reference("1.2.840.10008.3.1.2.3.1", STUDY, RTReferencedSeriesSequence=[series])
    rois, contours, observations = [], [], []
    for number, (name, kind) in enumerate(
        (("BODY", "EXTERNAL"), ("PTV_6000", "PTV"), ("Parotid_L", "ORGAN")), start=1
    ):
        rois.append(
            made(
                ROINumber=number,
                ReferencedFrameOfReferenceUID=FRAME,
                ROIName=name,
                ROIDescription="",
                ROIVolume="12.5",
                ROIGenerationAlgorithm="SEMIAUTOMATIC",
            )
        )
        rings = [
            made(
                ContourImageSequence=[image],
                ContourGeometricType="CLOSED_PLANAR",
                NumberOfContourPoints="4",
                ContourData=[
                    str(each)
                    for point in ((0, 0), (20, 0), (20, 20), (0, 20))
                    for each in (*point, 3 * place)
                ],
            )
            for place, image in enumerate(images, start=1)
        ]
        contours.append(
            made(
                ROIDisplayColor=["255", "0", "0"], ContourSequence=rings, ReferencedROINumber=number
            )
        )
        observations.append(
            made(
                ObservationNumber=number,
                ReferencedROINumber=number,
                ROIObservationLabel=name,
                RTROIInterpretedType=kind,
                ROIInterpreter="Poe^Polly",
            )
        )
    dataset.update(
        made(
            FrameOfReferenceUID=FRAME,
            PositionReferenceIndicator="",
            StructureSetLabel="PLAN1",
            StructureSetName="Plan of today",
            StructureSetDate="20240301",
            StructureSetTime="110000",
            ReferencedFrameOfReferenceSequence=[
                made(FrameOfReferenceUID=FRAME, RTReferencedStudySequence=[study])
            ],
            StructureSetROISequence=rois,
            ROIContourSequence=contours,
            RTROIObservationsSequence=observations,
            ApprovalStatus="UNAPPROVED",
        )
    )
    return dataset


def _beam_positions() -> list[Dataset]:
    return [
        made(RTBeamLimitingDeviceType=kind, LeafJawPositions=["-50", "50"])
        for kind in ("ASYMX", "ASYMY")
    ]


def plan() -> Dataset:
    """Return an RT Plan (PS3.3 A.20)."""
    dataset = start(RTPLAN, "RTPLAN", "rtplan")
    first = made(
        ControlPointIndex=0,
        NominalBeamEnergy="6",
        DoseRateSet="600",
        BeamLimitingDevicePositionSequence=_beam_positions(),
        GantryAngle="0",
        GantryRotationDirection="NONE",
        BeamLimitingDeviceAngle="0",
        BeamLimitingDeviceRotationDirection="NONE",
        PatientSupportAngle="0",
        PatientSupportRotationDirection="NONE",
        TableTopEccentricAngle="0",
        TableTopEccentricRotationDirection="NONE",
        TableTopVerticalPosition="",
        TableTopLongitudinalPosition="",
        TableTopLateralPosition="",
        IsocenterPosition=["0", "0", "6"],
        SourceToSurfaceDistance="900",
        CumulativeMetersetWeight="0",
    )
    beam = made(
        Manufacturer="Varian",
        InstitutionName="General Hospital",
        ManufacturerModelName="Model 1",
        DeviceSerialNumber="4711",
        TreatmentMachineName="LINAC1",
        PrimaryDosimeterUnit="MU",
        SourceAxisDistance="1000",
        BeamLimitingDeviceSequence=[
            made(RTBeamLimitingDeviceType=kind, NumberOfLeafJawPairs=1)
            for kind in ("ASYMX", "ASYMY")
        ],
        BeamNumber=1,
        BeamName="Anterior of Doe",
        BeamDescription="Anterior",
        BeamType="STATIC",
        RadiationType="PHOTON",
        TreatmentDeliveryType="TREATMENT",
        NumberOfWedges=0,
        NumberOfCompensators=0,
        NumberOfBoli=0,
        NumberOfBlocks=0,
        FinalCumulativeMetersetWeight="1",
        NumberOfControlPoints=2,
        ControlPointSequence=[first, made(ControlPointIndex=1, CumulativeMetersetWeight="1")],
        ReferencedPatientSetupNumber=1,
    )
    dataset.update(
        made(
            FrameOfReferenceUID=FRAME,
            PositionReferenceIndicator="",
            RTPlanLabel="PLAN1",
            RTPlanName="Plan of today",
            RTPlanDate="20240301",
            RTPlanTime="110000",
            PlanIntent="CURATIVE",
            RTPlanGeometry="PATIENT",
            DoseReferenceSequence=[
                made(
                    DoseReferenceNumber=1,
                    DoseReferenceStructureType="SITE",
                    DoseReferenceDescription="Primary",
                    DoseReferenceType="TARGET",
                    TargetPrescriptionDose="60",
                )
            ],
            FractionGroupSequence=[
                made(
                    FractionGroupNumber=1,
                    NumberOfFractionsPlanned=30,
                    NumberOfBeams=1,
                    NumberOfBrachyApplicationSetups=0,
                    ReferencedBeamSequence=[
                        made(BeamDose="2", BeamMeterset="100", ReferencedBeamNumber=1)
                    ],
                )
            ],
            BeamSequence=[beam],
            PatientSetupSequence=[
                made(PatientPosition="HFS", PatientSetupNumber=1, SetupTechnique="ISOCENTRIC")
            ],
            ReferencedStructureSetSequence=[reference(RTSTRUCT, uid("rtstruct"))],
            ApprovalStatus="UNAPPROVED",
        )
    )
    return dataset


def dose() -> Dataset:
    """Return an RT Dose (PS3.3 A.18); of 16 bits, since the judge aborts at 32."""
    dataset = start(RTDOSE, "RTDOSE", "rtdose")
    in_space(dataset)
    del dataset.ContentDate, dataset.ContentTime
    pixels(dataset, frames=SLICES)
    dvh = made(
        DVHReferencedROISequence=[made(DVHROIContributionType="INCLUDED", ReferencedROINumber=2)],
        DVHType="CUMULATIVE",
        DoseUnits="GY",
        DoseType="PHYSICAL",
        DVHDoseScaling="1",
        DVHVolumeUnits="CM3",
        DVHNumberOfBins=2,
        DVHData=["0.5", "12.5", "0.5", "6"],
        DVHMinimumDose="0.5",
        DVHMaximumDose="1",
        DVHMeanDose="0.7",
    )
    dataset.update(
        made(
            SliceThickness="",
            NumberOfFrames=SLICES,
            FrameIncrementPointer=0x3004000C,
            GridFrameOffsetVector=[str(3 * number) for number in range(SLICES)],
            DoseUnits="GY",
            DoseType="PHYSICAL",
            DoseSummationType="PLAN",
            DoseComment="as planned",
            DoseGridScaling="0.0003",
            TissueHeterogeneityCorrection="IMAGE",
            ReferencedRTPlanSequence=[reference(RTPLAN, uid("rtplan"))],
            ReferencedStructureSetSequence=[reference(RTSTRUCT, uid("rtstruct"))],
            DVHSequence=[dvh],
        )
    )
    return dataset


def brachy_plan() -> Dataset:
    """Return an RT Plan with an application of HDR brachytherapy (PS3.3 C.8.8.15)."""
    dataset = plan()
    dataset.SOPInstanceUID = uid("brachy")
    dataset.SeriesInstanceUID = f"{uid('brachy')}.9"
    del dataset.BeamSequence, dataset.PatientSetupSequence
    group = dataset.FractionGroupSequence[0]
    del group.ReferencedBeamSequence
    group.NumberOfBeams, group.NumberOfBrachyApplicationSetups = 0, 1
    group.ReferencedBrachyApplicationSetupSequence = [
        made(
            BrachyApplicationSetupDoseSpecificationPoint=["0", "0", "6"],
            BrachyApplicationSetupDose="7",
            ReferencedBrachyApplicationSetupNumber=1,
        )
    ]
    stops = [
        made(
            ControlPointIndex=number,
            CumulativeTimeWeight=str(number),
            ControlPointRelativePosition=str(5 * number),
            ControlPoint3DPosition=["0", "0", str(5 * number)],
        )
        for number in range(2)
    ]
    channel = made(
        ChannelNumber=1,
        ChannelLength="1200",
        ChannelTotalTime="20",
        SourceMovementType="STEPWISE",
        SourceApplicatorNumber=1,
        SourceApplicatorID="A1",
        SourceApplicatorType="RIGID",
        SourceApplicatorName="Tandem",
        SourceApplicatorLength="1200",
        SourceApplicatorStepSize="5",
        TransferTubeNumber=1,
        TransferTubeLength="1000",
        ReferencedROINumber=2,
        ReferencedSourceNumber=1,
        NumberOfControlPoints=2,
        FinalCumulativeTimeWeight="1",
        BrachyControlPointSequence=stops,
    )
    dataset.update(
        made(
            BrachyTreatmentTechnique="INTRACAVITARY",
            BrachyTreatmentType="HDR",
            TreatmentMachineSequence=[
                made(TreatmentMachineName="AFTERLOADER1", Manufacturer="Nucletron")
            ],
            SourceSequence=[
                made(
                    SourceNumber=1,
                    SourceType="LINE",
                    SourceManufacturer="Nucletron",
                    ActiveSourceDiameter="0.6",
                    ActiveSourceLength="3.5",
                    SourceIsotopeName="Ir-192",
                    SourceIsotopeHalfLife="73.83",
                    ReferenceAirKermaRate="40000",
                    SourceStrengthReferenceDate="20240301",
                    SourceStrengthReferenceTime="080000",
                )
            ],
            ApplicationSetupSequence=[
                made(
                    ApplicationSetupType="FLETCHER_SUIT",
                    ApplicationSetupNumber=1,
                    ApplicationSetupName="Tandem and ovoids",
                    TotalReferenceAirKerma="500",
                    ChannelSequence=[channel],
                )
            ],
        )
    )
    return dataset


def ion_plan() -> Dataset:
    """Return an RT Ion Plan (PS3.3 A.49) of scanned protons with a range shifter."""
    dataset = plan()
    dataset.SOPClassUID, dataset.SOPInstanceUID = IONPLAN, uid("ionplan")
    dataset.SeriesInstanceUID = f"{uid('ionplan')}.9"
    photons = dataset.BeamSequence[0]
    del dataset.BeamSequence

    def point(number: int, **more: Any) -> Dataset:
        return made(
            ControlPointIndex=number,
            NominalBeamEnergy="150",
            CumulativeMetersetWeight=str(number),
            ScanSpotTuneID="4.0",
            NumberOfScanSpotPositions=2,
            ScanSpotPositionMap=[0.0, 0.0, 5.0, 0.0],
            ScanSpotMetersetWeights=[0.5, 0.5] if not number else [0.0, 0.0],
            ScanningSpotSize=[5.0, 5.0],
            NumberOfPaintings=1,
            **more,
        )

    first = point(
        0,
        RangeShifterSettingsSequence=[
            made(
                RangeShifterSetting="IN",
                IsocenterToRangeShifterDistance=300.0,
                RangeShifterWaterEquivalentThickness=40.0,
                ReferencedRangeShifterNumber=1,
            )
        ],
        GantryAngle="0",
        GantryRotationDirection="NONE",
        BeamLimitingDeviceAngle="0",
        BeamLimitingDeviceRotationDirection="NONE",
        PatientSupportAngle="0",
        PatientSupportRotationDirection="NONE",
        TableTopPitchAngle=0.0,
        TableTopPitchRotationDirection="NONE",
        TableTopRollAngle=0.0,
        TableTopRollRotationDirection="NONE",
        GantryPitchAngle=0.0,
        GantryPitchRotationDirection="NONE",
        TableTopVerticalPosition="",
        TableTopLongitudinalPosition="",
        TableTopLateralPosition="",
        IsocenterPosition=["0", "0", "6"],
        SnoutPosition=300.0,
        MetersetRate=100.0,
    )
    beam = made(
        Manufacturer="IBA",
        TreatmentMachineName="GANTRY1",
        PrimaryDosimeterUnit="MU",
        BeamNumber=1,
        BeamName="Anterior of Doe",
        BeamType="STATIC",
        RadiationType="PROTON",
        ScanMode="MODULATED",
        ModulatedScanModeType="STATIONARY",
        VirtualSourceAxisDistances=[2000.0, 2200.0],
        TreatmentDeliveryType="TREATMENT",
        NumberOfWedges=0,
        NumberOfCompensators=0,
        NumberOfBoli=0,
        NumberOfBlocks=0,
        SnoutSequence=[made(SnoutID="SNOUT1")],
        NumberOfRangeShifters=1,
        RangeShifterSequence=[
            made(RangeShifterNumber=1, RangeShifterID="RS40", RangeShifterType="BINARY")
        ],
        NumberOfLateralSpreadingDevices=0,
        NumberOfRangeModulators=0,
        PatientSupportType="TABLE",
        FinalCumulativeMetersetWeight="1",
        NumberOfControlPoints=2,
        IonControlPointSequence=[first, point(1)],
        ReferencedPatientSetupNumber=photons.ReferencedPatientSetupNumber,
    )
    dataset.IonBeamSequence = [beam]
    return dataset


def record() -> Dataset:
    """Return an RT Beams Treatment Record (PS3.3 A.29)."""
    dataset = start(RTRECORD, "RTRECORD", "rtrecord")

    def point(number: int) -> Dataset:
        return made(
            TreatmentControlPointDate="20240301",
            TreatmentControlPointTime=f"10150{number}",
            SpecifiedMeterset=str(100 * number),
            DeliveredMeterset=str(100 * number),
            DoseRateSet="600",
            DoseRateDelivered="598",
            NominalBeamEnergy="6",
            NominalBeamEnergyUnit="MV",
            BeamLimitingDevicePositionSequence=_beam_positions(),
            ReferencedControlPointIndex=number,
            GantryAngle="0",
            GantryRotationDirection="NONE",
            BeamLimitingDeviceAngle="0",
            BeamLimitingDeviceRotationDirection="NONE",
            PatientSupportAngle="0",
            PatientSupportRotationDirection="NONE",
            TableTopEccentricAngle="0",
            TableTopEccentricRotationDirection="NONE",
            TableTopVerticalPosition="",
            TableTopLongitudinalPosition="",
            TableTopLateralPosition="",
        )

    beam = made(
        CurrentFractionNumber=1,
        TreatmentTerminationStatus="NORMAL",
        TreatmentVerificationStatus="VERIFIED_OVR",
        SpecifiedPrimaryMeterset="100",
        DeliveredPrimaryMeterset="100",
        ControlPointDeliverySequence=[point(0), point(1)],
        SourceAxisDistance="1000",
        BeamLimitingDeviceLeafPairsSequence=[
            made(RTBeamLimitingDeviceType=kind, NumberOfLeafJawPairs=1)
            for kind in ("ASYMX", "ASYMY")
        ],
        BeamName="Anterior of Doe",
        BeamType="STATIC",
        RadiationType="PHOTON",
        TreatmentDeliveryType="TREATMENT",
        NumberOfWedges=0,
        NumberOfCompensators=0,
        NumberOfBoli=0,
        NumberOfBlocks=0,
        NumberOfControlPoints=2,
        ReferencedBeamNumber=1,
    )
    dataset.update(
        made(
            TreatmentDate="20240301",
            TreatmentTime="101500",
            ReferencedRTPlanSequence=[reference(RTPLAN, uid("rtplan"))],
            TreatmentSessionBeamSequence=[beam],
            NumberOfFractionsPlanned=30,
            PrimaryDosimeterUnit="MU",
            ReferencedFractionGroupNumber=1,
            TreatmentMachineSequence=[
                made(
                    Manufacturer="Varian",
                    InstitutionName="General Hospital",
                    ManufacturerModelName="Model 1",
                    DeviceSerialNumber="4711",
                    TreatmentMachineName="LINAC1",
                )
            ],
        )
    )
    return dataset


def brachy_record() -> Dataset:
    """Return an RT Brachy Treatment Record (PS3.3 A.30)."""
    dataset = record()
    dataset.SOPClassUID, dataset.SOPInstanceUID = BRACHYRECORD, uid("brachyrecord")
    dataset.SeriesInstanceUID = f"{uid('brachyrecord')}.9"
    del dataset.TreatmentSessionBeamSequence, dataset.PrimaryDosimeterUnit
    stops = [
        made(
            TreatmentControlPointDate="20240301",
            TreatmentControlPointTime=f"10150{number}",
            ReferencedControlPointIndex=number,
            ControlPointRelativePosition=str(5 * number),
        )
        for number in range(2)
    ]
    channel = made(
        ChannelNumber=1,
        ChannelLength="1200",
        SpecifiedChannelTotalTime="20",
        DeliveredChannelTotalTime="20",
        SourceMovementType="STEPWISE",
        TransferTubeNumber=1,
        TransferTubeLength="1000",
        ReferencedSourceNumber=1,
        SafePositionExitDate="20240301",
        SafePositionExitTime="101500",
        SafePositionReturnDate="20240301",
        SafePositionReturnTime="101520",
        NumberOfControlPoints=2,
        BrachyControlPointDeliveredSequence=stops,
    )
    setup = made(
        ApplicationSetupType="FLETCHER_SUIT",
        TotalReferenceAirKerma="500",
        CurrentFractionNumber=1,
        TreatmentDeliveryType="TREATMENT",
        TreatmentTerminationStatus="NORMAL",
        TreatmentVerificationStatus="VERIFIED_OVR",
        ReferencedBrachyApplicationSetupNumber=1,
        RecordedChannelSequence=[channel],
    )
    source = made(
        SourceNumber=1,
        SourceType="LINE",
        SourceManufacturer="Nucletron",
        SourceSerialNumber="S4711",
        SourceIsotopeName="Ir-192",
        SourceIsotopeHalfLife="73.83",
        ReferenceAirKermaRate="40000",
        SourceStrengthReferenceDate="20240301",
        SourceStrengthReferenceTime="080000",
    )
    dataset.update(
        made(
            BrachyTreatmentTechnique="INTRACAVITARY",
            BrachyTreatmentType="HDR",
            RecordedSourceSequence=[source],
            TreatmentSessionApplicationSetupSequence=[setup],
        )
    )
    return dataset


def portal() -> Dataset:
    """Return an RT Image of a beam (PS3.3 A.17)."""
    dataset = start(RTIMAGE, "RTIMAGE", "rtimage")
    pixels(dataset)
    dataset.update(
        made(
            ImageType=["ORIGINAL", "PRIMARY", "PORTAL"],
            ContentDate="20240301",
            ContentTime="101314",
            PatientOrientation="",
            FrameOfReferenceUID=FRAME,
            PositionReferenceIndicator="",
            ConversionType="DI",
            ReportedValuesOrigin="OPERATOR",
            RTImageLabel="Anterior of Doe",
            RTImageName="Anterior",
            RTImagePlane="NORMAL",
            XRayImageReceptorTranslation=["0", "0", "-500"],
            XRayImageReceptorAngle="0",
            RTImageOrientation=["1", "0", "0", "0", "-1", "0"],
            ImagePlanePixelSpacing=["0.4", "0.4"],
            RTImagePosition=["-100", "100"],
            RadiationMachineName="LINAC1",
            RadiationMachineSAD="1000",
            RTImageSID="1500",
            PrimaryDosimeterUnit="MU",
            GantryAngle="0",
            BeamLimitingDeviceAngle="0",
            PatientSupportAngle="0",
            TableTopEccentricAxisDistance="0",
            TableTopEccentricAngle="0",
            IsocenterPosition=["0", "0", "6"],
            PatientPosition="HFS",
            ReferencedRTPlanSequence=[reference(RTPLAN, uid("rtplan"))],
            ReferencedBeamNumber=1,
        )
    )
    return dataset
