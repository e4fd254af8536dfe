-- Copies of barcodes that a pass no longer shows: good to a scanner without a network until they are over by themselves,
-- so it is told which of them are of passes that are void or over.

CREATE TABLE replaced_barcodes (
    tenant_id           bigint      NOT NULL,
    pass_id             uuid        NOT NULL,
    key_id              smallint    NOT NULL,   -- that sealed it
    not_after           timestamptz NOT NULL,   -- when the last one that is replaced is over; infinity: never
    PRIMARY KEY (tenant_id, pass_id, key_id)
);
CREATE INDEX replaced_barcodes_by_key ON replaced_barcodes (tenant_id, key_id, not_after);

ALTER TABLE replaced_barcodes ENABLE ROW LEVEL SECURITY;
ALTER TABLE replaced_barcodes FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON replaced_barcodes
    USING (tenant_id = (SELECT nullif(current_setting('passmill.tenant_id', true), '')::bigint));
GRANT SELECT, INSERT, UPDATE ON replaced_barcodes TO passmill_app;

-- A seal is key id (2 bytes), end (4 bytes, Unix seconds, 0 for never) and signature; both numbers big-endian.
CREATE FUNCTION seal_key_id(seal bytea) RETURNS smallint LANGUAGE sql IMMUTABLE STRICT AS
    $$ SELECT (get_byte(seal, 0) << 8 | get_byte(seal, 1))::smallint $$;
CREATE FUNCTION seal_not_after(seal bytea) RETURNS timestamptz LANGUAGE sql IMMUTABLE STRICT AS
    $$ SELECT CASE WHEN substring(seal FROM 3 FOR 4) = '\x00000000' THEN 'infinity'::timestamptz ELSE to_timestamp(
        get_byte(seal, 2) * 16777216::bigint + get_byte(seal, 3) * 65536 + get_byte(seal, 4) * 256 + get_byte(seal, 5))
    END $$;

-- A trigger, as passes are changed in several ways, and none may forget it. What the next seal of the same key outlasts
-- needs no row.
CREATE FUNCTION keep_replaced_barcode() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO replaced_barcodes (tenant_id, pass_id, key_id, not_after)
    VALUES (OLD.tenant_id, OLD.pass_id, seal_key_id(OLD.barcode_seal), seal_not_after(OLD.barcode_seal))
    ON CONFLICT (tenant_id, pass_id, key_id) DO UPDATE
        SET not_after = greatest(replaced_barcodes.not_after, EXCLUDED.not_after);
    RETURN NULL;
END $$;
CREATE TRIGGER passes_keep_replaced_barcode AFTER UPDATE OF barcode_seal ON passes FOR EACH ROW
    WHEN (OLD.barcode_seal IS DISTINCT FROM NEW.barcode_seal AND OLD.barcode_seal IS NOT NULL
        AND (NEW.barcode_seal IS NULL OR seal_key_id(OLD.barcode_seal) <> seal_key_id(NEW.barcode_seal)
            OR seal_not_after(OLD.barcode_seal) > seal_not_after(NEW.barcode_seal)))
    EXECUTE FUNCTION keep_replaced_barcode();
