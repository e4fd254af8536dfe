-- Chains: passes that change with each use, by one partner after the other.

CREATE TABLE chains (
    tenant_id           bigint      NOT NULL,
    chain_id            uuid        NOT NULL,
    program_id          uuid        NOT NULL,
    template_id         uuid        NOT NULL,
    display_name        text        NOT NULL,
    state               smallint    NOT NULL,
    version             integer     NOT NULL,   -- of the steps: what a pass that begins now gets
    revision            integer     NOT NULL,   -- of this row, for its etag
    create_time         timestamptz NOT NULL,
    update_time         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, chain_id)
);
CREATE INDEX chains_by_program ON chains (tenant_id, program_id, chain_id);

-- Never changed: a pass keeps the version it began with.
CREATE TABLE chain_versions (
    tenant_id           bigint      NOT NULL,
    chain_id            uuid        NOT NULL,
    version             integer     NOT NULL,
    steps               text        NOT NULL,   -- JSON
    create_time         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, chain_id, version)
);

-- Where passes stand: so many steps are done, the latest by this redemption. A pass that is not here has not begun.
CREATE TABLE pass_chains (
    tenant_id           bigint      NOT NULL,
    pass_id             uuid        NOT NULL,
    chain_id            uuid        NOT NULL,
    version             integer     NOT NULL,
    step                integer     NOT NULL CHECK (step >= 0),
    step_time           timestamptz,
    redemption_id       uuid,
    PRIMARY KEY (tenant_id, pass_id, chain_id),
    CHECK ((step = 0) = (redemption_id IS NULL) AND (step = 0) = (step_time IS NULL))
);

-- Each step that was taken, with what takes it back.
CREATE TABLE chain_steps (
    tenant_id              bigint      NOT NULL,
    redemption_id          uuid        NOT NULL,
    pass_id                uuid        NOT NULL,
    chain_id               uuid        NOT NULL,
    step                   integer     NOT NULL CHECK (step >= 1),
    previous_redemption_id uuid,
    previous_time          timestamptz,
    undo                   text,                -- JSON: what the pass showed before; NULL when the step has no look
    PRIMARY KEY (tenant_id, redemption_id)
);
CREATE INDEX chain_steps_by_pass ON chain_steps (tenant_id, pass_id);

-- An offer is a step of one chain, for good; a redemption says of which it was.
ALTER TABLE offers ADD COLUMN chain_id uuid;
ALTER TABLE redemptions ADD COLUMN chain_id uuid;

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['chains', 'chain_versions', 'pass_chains', 'chain_steps'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I USING (tenant_id = (SELECT nullif(current_setting('
            '''passmill.tenant_id'', true), '''')::bigint))', table_name);
    END LOOP;
END $$;

GRANT SELECT, INSERT, UPDATE ON chains, pass_chains TO passmill_app;
GRANT SELECT, INSERT ON chain_versions, chain_steps TO passmill_app;
GRANT UPDATE (undo) ON chain_steps TO passmill_app;
