-- Holders: people with several passes, found by what tills and other systems know of them. Nothing here is a person's
-- name: a holder is a number, and an identity a keyed hash.

CREATE TABLE holders (
    tenant_id           bigint      NOT NULL,
    holder_id           uuid        NOT NULL,
    create_time         timestamptz NOT NULL,
    erase_time          timestamptz,            -- its passes hold nothing of a person any more
    erase_end_time      timestamptz,            -- nor does anything else
    PRIMARY KEY (tenant_id, holder_id),
    CHECK (erase_end_time IS NULL OR erase_time IS NOT NULL)
);
-- What is still to be overwritten.
CREATE INDEX holders_erasing ON holders (erase_time) WHERE erase_time IS NOT NULL AND erase_end_time IS NULL;

CREATE TABLE holder_keys (
    tenant_id           bigint      NOT NULL,
    system              text        NOT NULL,   -- '' of e-mail addresses and telephone numbers
    key_hash            bytea       NOT NULL,   -- HMAC-SHA-256 of kind, system and id under a key of the tenant's
    holder_id           uuid        NOT NULL,
    kind                smallint    NOT NULL,
    create_time         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, system, key_hash)
);
CREATE INDEX holder_keys_by_holder ON holder_keys (tenant_id, holder_id);

-- A pass has one holder. One that is not here has its own, which nobody has needed yet.
CREATE TABLE pass_holders (
    tenant_id           bigint      NOT NULL,
    pass_id             uuid        NOT NULL,
    holder_id           uuid        NOT NULL,
    create_time         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, pass_id)
);
CREATE INDEX pass_holders_by_holder ON pass_holders (tenant_id, holder_id, pass_id);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['holders', 'holder_keys', 'pass_holders'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I USING (tenant_id = (SELECT nullif(current_setting('
            '''passmill.tenant_id'', true), '''')::bigint))', table_name);
    END LOOP;
END $$;
-- The service's own upkeep finds erasures that are not complete.
CREATE POLICY operator_access ON holders USING ((SELECT current_setting('passmill.operator', true)) = 'on');

GRANT SELECT, INSERT, UPDATE ON holders, pass_holders TO passmill_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON holder_keys TO passmill_app;
-- An erased holder's place in a campaign stays, without anything in it.
GRANT UPDATE (content) ON recipient_chunks TO passmill_app;
