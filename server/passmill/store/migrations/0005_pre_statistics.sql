-- What statistics and the stream of events need beside the rows they are about.

-- Who holds passes of a template or a campaign; by pass, so that they can be gone through in pieces.
CREATE INDEX registrations_by_template ON registrations (tenant_id, template_id, pass_id);
CREATE INDEX registrations_by_campaign ON registrations (tenant_id, campaign_id, pass_id) WHERE campaign_id IS NOT NULL;

-- Registrations that ended, counted before their rows were deleted: installs stay countable by their days.
CREATE TABLE install_counts (
    tenant_id           bigint      NOT NULL,
    template_id         uuid        NOT NULL,
    campaign_id         uuid        NOT NULL,   -- all zeros: none issued the pass
    install_day         date        NOT NULL,   -- UTC
    remove_day          date        NOT NULL,
    wallet              smallint    NOT NULL,
    system_version      text        NOT NULL,
    count               bigint      NOT NULL,
    PRIMARY KEY (tenant_id, template_id, campaign_id, install_day, remove_day, wallet, system_version)
);

-- How far a tenant's events are forgotten: the last one that was deleted, in the order in which events are told. A
-- cursor before it would skip events.
CREATE TABLE forgotten_events (
    tenant_id           bigint      NOT NULL PRIMARY KEY,
    transaction_id      bigint      NOT NULL,
    event_id            uuid        NOT NULL
);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['install_counts', 'forgotten_events'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I USING (tenant_id = (SELECT nullif(current_setting('
            '''passmill.tenant_id'', true), '''')::bigint))', table_name);
        -- Written by the service's own upkeep.
        EXECUTE format(
            'CREATE POLICY operator_access ON %I USING ((SELECT current_setting(''passmill.operator'', true)) = ''on'')',
            table_name);
    END LOOP;
END $$;

GRANT SELECT, INSERT, UPDATE ON install_counts, forgotten_events TO passmill_app;
