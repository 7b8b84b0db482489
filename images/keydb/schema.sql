-- Schema 3 of KeyDB: which patient has which pseudonym, and by how many days its dates are shifted.
-- Applied once, when the database is created. A later version changes this file, adds the way to it
-- as migrations/<version>.sql, which migrate.sh applies to the databases that exist. A migration only adds, so that the image before it still works with what it made.

CREATE TABLE schema_version (
    version     integer     PRIMARY KEY,
    applied_at  timestamptz NOT NULL DEFAULT now()
);
INSERT INTO schema_version (version) VALUES (3);

-- The checks are those of DICOM's value representation LO (PS3.5, 6.2): at most 64 characters, no
-- backslash, no control characters; leading and trailing spaces do not count there, so they may
-- not stand here. A no-break space is a character like any other there, and some systems send one.
-- A pseudonym is ASCII, because it must be valid whatever Specific Character Set an object declares.
CREATE TABLE patient (
    patient_id  text        NOT NULL
        CONSTRAINT patient_id_blank CHECK (patient_id ~ '[^[:space:]]')
        CONSTRAINT patient_id_dicom_lo CHECK (
            char_length(patient_id) <= 64
            AND patient_id !~ '[[:cntrl:]\\]' AND patient_id !~ '^ | $'),
    issuer      text        NOT NULL DEFAULT ''
        CONSTRAINT issuer_dicom_lo CHECK (
            char_length(issuer) <= 64
            AND issuer !~ '[[:cntrl:]\\]' AND issuer !~ '^ | $'),
    pseudonym   text        NOT NULL
        CONSTRAINT pseudonym_unique UNIQUE
        CONSTRAINT pseudonym_blank CHECK (pseudonym ~ '[^[:space:]]')
        CONSTRAINT pseudonym_dicom_lo CHECK (
            char_length(pseudonym) <= 64
            AND pseudonym !~ '[^\x20-\x7e]|\\' AND pseudonym !~ '^[[:space:]]|[[:space:]]$'),
    added_at    timestamptz NOT NULL DEFAULT now(),
    added_by    text        NOT NULL DEFAULT current_user,
    -- Out of the strong random numbers that a UUID is made of, not of random(), whose next ones
    -- can be told from a few earlier ones.
    date_shift_days integer NOT NULL
        DEFAULT -30 - (('x' || left(gen_random_uuid()::text, 8))::bit(32)::bigint % 3621)::integer
        CONSTRAINT date_shift_days_range CHECK (
            date_shift_days BETWEEN -36500 AND 36500 AND date_shift_days <> 0),
    CONSTRAINT patient_unique PRIMARY KEY (patient_id, issuer)
);
COMMENT ON TABLE patient IS 'Identifiable: patient identifier to pseudonym and date shift. All three are kept for ever.';
COMMENT ON COLUMN patient.patient_id IS 'Patient ID (0010,0020) as the clinical systems send it';
COMMENT ON COLUMN patient.issuer IS 'Issuer of Patient ID (0010,0021); empty: none';
COMMENT ON COLUMN patient.pseudonym IS 'Patient ID of the de-identified objects';
COMMENT ON COLUMN patient.date_shift_days IS 'Days added to each date of the patient''s objects where dates are shifted; by default a random number from -3650 to -30, so about ten years to one month earlier; never 0';

-- A study that was de-identified yesterday and its follow-up of next year must meet under one
-- pseudonym and with the days between them unchanged, and no pseudonym may pass from one person to
-- another.
CREATE FUNCTION refuse_changed_pair() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a pair of patient and pseudonym is kept for ever, with its date shift: it cannot be changed (%)',
        lower(TG_OP)
        USING ERRCODE = 'restrict_violation',
              HINT = 'Add a new pair; delete one only where nothing was de-identified under it.';
END
$$;
CREATE TRIGGER pair_is_kept
    BEFORE UPDATE OF patient_id, issuer, pseudonym, date_shift_days ON patient
    FOR EACH ROW WHEN ((OLD.patient_id, OLD.issuer, OLD.pseudonym, OLD.date_shift_days)
                       IS DISTINCT FROM
                       (NEW.patient_id, NEW.issuer, NEW.pseudonym, NEW.date_shift_days))
    EXECUTE FUNCTION refuse_changed_pair();
CREATE TRIGGER pairs_are_kept BEFORE TRUNCATE ON patient
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_changed_pair();

-- Columns are only ever added at the end: that keeps the grants, and whoever selects by name.
CREATE VIEW ctp_patient AS
    SELECT patient_id, issuer, pseudonym, date_shift_days FROM patient;
COMMENT ON VIEW ctp_patient IS 'All that CTP may read';

-- What PostgreSQL grants to everybody is taken back: a login sees nothing that was not given to it.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) FROM PUBLIC;
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT datname FROM pg_database LOOP
        EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', name);
    END LOOP;
END
$$;

CREATE ROLE ctp_key_db_select LOGIN NOINHERIT CONNECTION LIMIT 30;
ALTER ROLE ctp_key_db_select SET default_transaction_read_only = on;
ALTER ROLE ctp_key_db_select SET statement_timeout = '30s';
ALTER ROLE ctp_key_db_select SET idle_in_transaction_session_timeout = '60s';
DO $$
BEGIN
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO ctp_key_db_select', current_database());
END
$$;
GRANT USAGE ON SCHEMA public TO ctp_key_db_select;
GRANT SELECT ON ctp_patient TO ctp_key_db_select;
