-- Schema 2 of KeyDB: each patient has a date shift.
-- Brings a database of schema 1 to what schema.sql makes of a new one, in one transaction, which
-- whoever applies this opens: migrate.sh, or psql --single-transaction. No empty line may follow a
-- semicolon inside a function: there a standalone server would end the statement.

-- First, so that a second application is refused before it touches anything.
INSERT INTO schema_version (version) VALUES (2);
-- The default is computed for each row that is there.
ALTER TABLE patient ADD COLUMN date_shift_days integer NOT NULL
    DEFAULT -30 - (('x' || left(gen_random_uuid()::text, 8))::bit(32)::bigint % 3621)::integer
    CONSTRAINT date_shift_days_range CHECK (
        date_shift_days BETWEEN -36500 AND 36500 AND date_shift_days <> 0);
COMMENT ON COLUMN patient.date_shift_days IS 'Days added to each date of the patient''s objects where dates are shifted; by default a random number from -3650 to -30, so about ten years to one month earlier; never 0';
COMMENT ON TABLE patient IS 'Identifiable: patient identifier to pseudonym and date shift. All three are kept for ever.';
CREATE OR REPLACE FUNCTION refuse_changed_pair() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a pair of patient and pseudonym is kept for ever, with its date shift: it cannot be changed (%)',
        lower(TG_OP)
        USING ERRCODE = 'restrict_violation',
              HINT = 'Add a new pair; delete one only where nothing was de-identified under it.';
END
$$;
CREATE OR REPLACE TRIGGER pair_is_kept
    BEFORE UPDATE OF patient_id, issuer, pseudonym, date_shift_days ON patient
    FOR EACH ROW WHEN ((OLD.patient_id, OLD.issuer, OLD.pseudonym, OLD.date_shift_days)
                       IS DISTINCT FROM
                       (NEW.patient_id, NEW.issuer, NEW.pseudonym, NEW.date_shift_days))
    EXECUTE FUNCTION refuse_changed_pair();
-- A column added last: the grants on the view stay, and so do the views of a site that read it.
CREATE OR REPLACE VIEW ctp_patient AS
    SELECT patient_id, issuer, pseudonym, date_shift_days FROM patient;
