-- On how many devices passes may be: the policy of their revision, which of them exceeded it, and what takes their place.

-- From the revision's content, where a registration finds it on its way; NULL: no limit, which costs nothing.
ALTER TABLE template_revisions ADD COLUMN sharing jsonb;

-- Devices that came when a pass was on as many as may be: each is told of once.
CREATE TABLE over_shares (
    tenant_id           bigint      NOT NULL,
    pass_id             uuid        NOT NULL,
    token_hash          bytea       NOT NULL,   -- SHA-256 of its push token
    create_time         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, pass_id, token_hash)
);
CREATE INDEX over_shares_by_time ON over_shares (create_time);

-- Passes that are to be voided and issued anew, and those that were.
CREATE TABLE pass_reissues (
    tenant_id           bigint      NOT NULL,
    pass_id             uuid        NOT NULL,
    reissue_id          uuid        NOT NULL,   -- from which the request ids of its steps come
    create_time         timestamptz NOT NULL,
    new_pass_id         uuid,
    end_time            timestamptz,
    PRIMARY KEY (tenant_id, pass_id)
);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['over_shares', 'pass_reissues'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I USING (tenant_id = (SELECT nullif(current_setting('
            '''passmill.tenant_id'', true), '''')::bigint))', table_name);
    END LOOP;
END $$;
-- Old ones are forgotten by the service's own upkeep.
CREATE POLICY operator_access ON over_shares USING ((SELECT current_setting('passmill.operator', true)) = 'on');

GRANT SELECT, INSERT, DELETE ON over_shares TO passmill_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON pass_reissues TO passmill_app;
