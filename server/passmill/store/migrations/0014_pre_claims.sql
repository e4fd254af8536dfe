-- Claim links, and the passes that people got by them.

CREATE TABLE claim_links (
    tenant_id           bigint      NOT NULL,
    link_id             uuid        NOT NULL,
    token_hash          bytea       NOT NULL UNIQUE,    -- SHA-256 of 128 random bits; the token itself is nowhere
    template_id         uuid        NOT NULL,
    revision_number     integer     NOT NULL,           -- 0: the newest
    pass_id             uuid,                           -- a pass issued before, which it gives
    draft               text        NOT NULL,           -- JSON: what is known beforehand of holder and values
    fields              text        NOT NULL,           -- JSON: what is asked for
    default_region      text        NOT NULL,
    max_uses            integer,                        -- NULL: any number
    uses                integer     NOT NULL DEFAULT 0,
    once_per_person     boolean     NOT NULL,
    expire_time         timestamptz,
    revoke_time         timestamptz,
    campaign_id         uuid,
    source              text        NOT NULL,
    utm                 jsonb       NOT NULL,
    create_time         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, link_id),
    CHECK (uses >= 0 AND uses <= max_uses)
);
CREATE INDEX claim_links_by_campaign ON claim_links (tenant_id, campaign_id, link_id) WHERE campaign_id IS NOT NULL;
CREATE INDEX claim_links_by_source ON claim_links (tenant_id, source, link_id) WHERE source <> '';

-- A claim from when it is taken in. One a key, and one a person where the link says so.
CREATE TABLE claims (
    tenant_id           bigint      NOT NULL,
    claim_id            uuid        NOT NULL,
    link_id             uuid        NOT NULL,
    key_hash            bytea       NOT NULL,           -- SHA-256 of the claim key, which the claimer keeps
    person_hash         bytea,                          -- keyed hash of telephone number or e-mail address
    answers             text        NOT NULL,           -- JSON; '' once there is a pass
    pass_id             uuid,                           -- NULL until it is issued
    create_time         timestamptz NOT NULL,
    issue_time          timestamptz,
    recovery_time       timestamptz,                    -- when its holder last asked for it to be sent again
    recovery_count      integer     NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, claim_id),
    UNIQUE (tenant_id, link_id, key_hash),
    UNIQUE (tenant_id, link_id, person_hash),
    FOREIGN KEY (tenant_id, link_id) REFERENCES claim_links
);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['claim_links', 'claims'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I USING (tenant_id = (SELECT nullif(current_setting('
            '''passmill.tenant_id'', true), '''')::bigint))', table_name);
    END LOOP;
    -- Whoever presents a token sees its link and, for its state, the tenant.
    CREATE POLICY presented_secret ON claim_links FOR SELECT
        USING (token_hash = (SELECT decode(nullif(current_setting('passmill.secret_hash', true), ''), 'hex')));
    CREATE POLICY presented_claim_token ON tenants FOR SELECT
        USING (tenant_id = (SELECT claim_links.tenant_id FROM claim_links WHERE claim_links.token_hash
                            = decode(nullif(current_setting('passmill.secret_hash', true), ''), 'hex')));
END $$;

GRANT SELECT, INSERT, UPDATE ON claim_links TO passmill_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON claims TO passmill_app;
