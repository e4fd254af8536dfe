-- Barcodes that can be checked: keys that seal them, and the seal of each pass that has one.

-- key id, time and signature of its barcode (domain/barcodes.py). NULL, which takes no room, where the revision has no
-- signed barcode.
ALTER TABLE passes ADD COLUMN barcode_seal bytea;
-- What scanners are told not to take while they have no network.
CREATE INDEX passes_voided_sealed ON passes (tenant_id, pass_id) WHERE state = 2 AND barcode_seal IS NOT NULL;

CREATE TABLE barcode_keys (
    tenant_id           bigint      NOT NULL,
    key_id              smallint    NOT NULL CHECK (key_id > 0),
    public_key          bytea       NOT NULL,   -- Ed25519, 32 bytes
    wrapped_private_key bytea,      -- under the deployment's master key; gone once the key is retired
    create_time         timestamptz NOT NULL,
    retire_time         timestamptz,
    revoke_time         timestamptz,
    PRIMARY KEY (tenant_id, key_id),
    CHECK (revoke_time IS NULL OR retire_time IS NOT NULL)
);
CREATE UNIQUE INDEX barcode_keys_sealing ON barcode_keys (tenant_id) WHERE retire_time IS NULL;

ALTER TABLE barcode_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE barcode_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON barcode_keys
    USING (tenant_id = (SELECT nullif(current_setting('passmill.tenant_id', true), '')::bigint));
GRANT SELECT, INSERT, UPDATE ON barcode_keys TO passmill_app;
