-- The first schema. Every key begins with tenant_id, so that the database can be spread by tenant.
-- passes has no foreign keys: rows it points to are never deleted, and a check a row would cost more than the row.

CREATE TABLE tenants (
    tenant_id           bigint      NOT NULL PRIMARY KEY,
    display_name        text        NOT NULL,
    state               smallint    NOT NULL,
    serial_key          bytea       NOT NULL,   -- AES-128 key: pass id -> serial number
    reference_key       bytea       NOT NULL,   -- 24 bytes: counter -> reference number
    next_reference      bigint      NOT NULL,   -- counter of reference numbers given out, in blocks
    create_time         timestamptz NOT NULL
);

CREATE TABLE api_keys (
    tenant_id           bigint      NOT NULL REFERENCES tenants,
    key_id              text        NOT NULL UNIQUE,
    secret_hash         bytea       NOT NULL,
    display_name        text        NOT NULL,
    scopes              text[]      NOT NULL,
    create_time         timestamptz NOT NULL,
    expire_time         timestamptz,
    revoke_time         timestamptz,
    PRIMARY KEY (tenant_id, key_id)
);

CREATE TABLE signing_identities (
    tenant_id           bigint      NOT NULL REFERENCES tenants,
    signing_identity_id bigint      NOT NULL,
    pass_type_identifier text       NOT NULL,
    team_identifier     text        NOT NULL,
    fingerprint         bytea       NOT NULL,
    leaf_der            bytea       NOT NULL,
    intermediate_der    bytea       NOT NULL,
    wrapped_key         bytea       NOT NULL,
    valid_from          timestamptz NOT NULL,
    expire_time         timestamptz NOT NULL,
    is_active           boolean     NOT NULL,
    create_time         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, signing_identity_id),
    UNIQUE (tenant_id, fingerprint)
);
CREATE UNIQUE INDEX signing_identities_active ON signing_identities (tenant_id, pass_type_identifier) WHERE is_active;
CREATE INDEX signing_identities_expiry ON signing_identities (tenant_id, expire_time, signing_identity_id);

CREATE TABLE programs (
    tenant_id           bigint      NOT NULL REFERENCES tenants,
    program_id          uuid        NOT NULL,
    display_name        text        NOT NULL,
    pass_type_identifier text       NOT NULL,
    state               smallint    NOT NULL,
    version             integer     NOT NULL,
    create_time         timestamptz NOT NULL,
    update_time         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, program_id)
);

CREATE TABLE assets (
    tenant_id           bigint      NOT NULL REFERENCES tenants,
    asset_id            bytea       NOT NULL,   -- SHA-256 of content
    width               integer     NOT NULL,
    height              integer     NOT NULL,
    content             bytea       NOT NULL,
    create_time         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, asset_id)
);
ALTER TABLE assets ALTER COLUMN content SET STORAGE EXTERNAL;   -- PNG: compressing again is wasted

CREATE TABLE templates (
    tenant_id           bigint      NOT NULL,
    template_id         uuid        NOT NULL,
    program_id          uuid        NOT NULL,
    display_name        text        NOT NULL,
    draft               bytea       NOT NULL,
    version             integer     NOT NULL,
    latest_revision     integer     NOT NULL,
    state               smallint    NOT NULL,
    create_time         timestamptz NOT NULL,
    update_time         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, template_id),
    FOREIGN KEY (tenant_id, program_id) REFERENCES programs
);
CREATE INDEX templates_by_program ON templates (tenant_id, program_id, template_id);

CREATE TABLE template_revisions (
    tenant_id           bigint      NOT NULL,
    revision_id         bigint      NOT NULL,
    template_id         uuid        NOT NULL,
    number              integer     NOT NULL,
    content             bytea       NOT NULL,
    pass_type_identifier text       NOT NULL,
    team_identifier     text        NOT NULL,
    web_service_url     text,
    publish_time        timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, revision_id),
    UNIQUE (tenant_id, template_id, number),
    FOREIGN KEY (tenant_id, template_id) REFERENCES templates
);

-- A pass is a recipe: what differs from its template revision, when it was signed, and the signature. The .pkpass is
-- assembled from it when somebody asks. signature is NULL between the commit of what shall be signed and the signing.
CREATE TABLE passes (
    tenant_id           bigint      NOT NULL,
    pass_id             uuid        NOT NULL,
    revision_id         bigint      NOT NULL,
    signing_identity_id bigint      NOT NULL,
    reference_number    bigint      NOT NULL,
    update_tag          bigint      NOT NULL,   -- pg_current_xact_id() of the last change of content
    create_time         timestamptz NOT NULL,
    signing_time        timestamptz NOT NULL,   -- whole seconds; also when the content last changed
    expire_time         timestamptz,            -- as drafted for this pass; a template's own expiry is in its revision
    version             integer     NOT NULL,
    token_generation    smallint    NOT NULL,
    state               smallint    NOT NULL,
    holder_name         text        NOT NULL,
    holder_phone        text        NOT NULL,
    slot_values         text        NOT NULL,   -- canonical JSON, as the signer takes it; jsonb would be half as large again
    void_reason         text        NOT NULL,
    digest              bytea       NOT NULL,   -- SHA-1 of pass.json
    signature           bytea,
    PRIMARY KEY (tenant_id, pass_id)
);
CREATE UNIQUE INDEX passes_by_reference ON passes (tenant_id, reference_number);
CREATE INDEX passes_by_phone ON passes (tenant_id, holder_phone) WHERE holder_phone <> '';

CREATE TABLE pass_external_ids (
    tenant_id           bigint      NOT NULL,
    system              text        NOT NULL,
    external_id         text        NOT NULL,
    pass_id             uuid        NOT NULL,
    PRIMARY KEY (tenant_id, system, external_id, pass_id)
);
CREATE INDEX pass_external_ids_by_pass ON pass_external_ids (tenant_id, pass_id);

-- A pass whose content is committed and whose signature is not yet. Whoever signs it deletes the row with the same
-- commit; a row left behind by a killed process is finished by the sweeper.
CREATE TABLE signing_intents (
    tenant_id           bigint      NOT NULL,
    pass_id             uuid        NOT NULL,
    create_time         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, pass_id)
);

CREATE TABLE outbox (
    tenant_id           bigint      NOT NULL,
    event_id            uuid        NOT NULL,
    kind                text        NOT NULL,
    pass_ids            uuid[]      NOT NULL,
    detail              jsonb       NOT NULL,
    transaction_id      xid8        NOT NULL DEFAULT pg_current_xact_id(),
    create_time         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, event_id)
);

CREATE TABLE request_answers (
    tenant_id           bigint      NOT NULL,
    request_id          uuid        NOT NULL,
    method              text        NOT NULL,
    fingerprint         bytea       NOT NULL,
    answer              bytea       NOT NULL,
    create_time         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, request_id)
);
CREATE INDEX request_answers_by_time ON request_answers (create_time);

-- One row: by which the service knows the master key that all wrapped and derived things belong to.
CREATE TABLE deployment (
    is_only             boolean     NOT NULL PRIMARY KEY CHECK (is_only),
    master_key_check    bytea       NOT NULL
);

-- One tenant never sees a row of another. The setting is made with each transaction; where it is missing, nothing is
-- visible. FORCE makes it hold for the owner too.
DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY[
        'programs', 'assets', 'templates', 'template_revisions', 'passes', 'pass_external_ids', 'outbox'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I USING (tenant_id = (SELECT nullif(current_setting('
            '''passmill.tenant_id'', true), '''')::bigint))', table_name);
    END LOOP;
    -- These are also seen by an operator and the service's own upkeep, and a key by whoever presents its id.
    FOREACH table_name IN ARRAY ARRAY[
        'tenants', 'api_keys', 'signing_identities', 'signing_intents', 'request_answers'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I USING (tenant_id = (SELECT nullif(current_setting('
            '''passmill.tenant_id'', true), '''')::bigint))', table_name);
        EXECUTE format(
            'CREATE POLICY operator_access ON %I USING ((SELECT current_setting(''passmill.operator'', true)) = ''on'')',
            table_name);
    END LOOP;
    CREATE POLICY presented_key ON api_keys FOR SELECT
        USING (key_id = (SELECT nullif(current_setting('passmill.key_id', true), '')));
    -- With the key its tenant's row, so that one statement tells whether the tenant is suspended.
    CREATE POLICY presented_key ON tenants FOR SELECT
        USING (tenant_id = (SELECT api_keys.tenant_id FROM api_keys
                            WHERE api_keys.key_id = nullif(current_setting('passmill.key_id', true), '')));
END $$;

-- The application's role owns nothing and may not change what was written for good.
GRANT SELECT, INSERT, UPDATE ON tenants, api_keys, signing_identities, programs, templates, passes TO passmill_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON request_answers TO passmill_app;
GRANT SELECT, INSERT ON assets, template_revisions, deployment TO passmill_app;
GRANT SELECT, INSERT, DELETE ON pass_external_ids, signing_intents, outbox TO passmill_app;
