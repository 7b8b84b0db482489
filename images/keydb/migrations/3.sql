-- Schema 3 of KeyDB: an identifier may begin or end with a no-break space, as some systems send it.
-- To PostgreSQL it is white space, which the checks of before refused at both ends; to DICOM and to CTP
-- it is a character like any other. All that those checks allowed, these allow.

-- First, so that a second application is refused before it touches anything.
INSERT INTO schema_version (version) VALUES (3);
ALTER TABLE patient
    DROP CONSTRAINT patient_id_dicom_lo,
    ADD CONSTRAINT patient_id_dicom_lo CHECK (
        char_length(patient_id) <= 64
        AND patient_id !~ '[[:cntrl:]\\]' AND patient_id !~ '^ | $'),
    DROP CONSTRAINT issuer_dicom_lo,
    ADD CONSTRAINT issuer_dicom_lo CHECK (
        char_length(issuer) <= 64
        AND issuer !~ '[[:cntrl:]\\]' AND issuer !~ '^ | $');
