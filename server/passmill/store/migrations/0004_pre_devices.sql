-- Devices that hold passes: who registered, by which push token they are reached, what they have heard and fetched.

-- A device as one pass type sees it. Wallet names itself anew for each server; the token is per device and pass type.
CREATE TABLE devices (
    tenant_id           bigint      NOT NULL,
    device_number       bigint      NOT NULL,   -- random, ours
    pass_type_identifier text       NOT NULL,
    device_library_identifier text  NOT NULL,
    push_token          text        NOT NULL,   -- '' once nothing is registered any more
    wallet              smallint    NOT NULL,   -- 1 Apple's, 2 AndroidPass, 3 WalletUnionPass
    system_version      text        NOT NULL,   -- from its user agent: "Darwin/24.1.0", '' when unknown
    token_time          timestamptz NOT NULL,   -- when it last gave the token: an older "unregistered" of APNs is void
    create_time         timestamptz NOT NULL,
    last_seen_time      timestamptz NOT NULL,   -- it registered or listed; to the hour or so
    listed_tag          bigint      NOT NULL,   -- the largest update tag it was told of
    push_time           timestamptz,            -- the last push to it that ended, and how
    push_state          smallint,
    push_reason         text,
    PRIMARY KEY (tenant_id, device_number),
    UNIQUE (tenant_id, pass_type_identifier, device_library_identifier)
);
CREATE INDEX devices_by_token ON devices (tenant_id, push_token) WHERE push_token <> '';

-- "This device wants updates of this pass." A registration that ends keeps its row for a while, so that whoever follows
-- the tags hears of it.
CREATE TABLE registrations (
    tenant_id           bigint      NOT NULL,
    device_number       bigint      NOT NULL,
    pass_id             uuid        NOT NULL,
    bucket              smallint    NOT NULL,   -- of the fan-out index: passmill.domain.registrations.bucket_of
    tag                 bigint      NOT NULL,   -- pg_current_xact_id() of its last change, or of its device's token
    template_id         uuid        NOT NULL,
    campaign_id         uuid,                   -- that issued the pass, where it was one
    create_time         timestamptz NOT NULL,
    remove_time         timestamptz,
    remove_reason       smallint,               -- 1 the device asked, 2 APNs says that its token is gone
    PRIMARY KEY (tenant_id, device_number, pass_id)
);
CREATE INDEX registrations_by_pass ON registrations (tenant_id, pass_id);
CREATE INDEX registrations_by_bucket ON registrations (tenant_id, bucket, tag);

-- What was last fetched of a pass by any of its devices: Apple's request for a pass does not say which one asks.
CREATE TABLE pass_fetches (
    tenant_id           bigint      NOT NULL,
    pass_id             uuid        NOT NULL,
    revision_id         bigint      NOT NULL,
    content_time        timestamptz NOT NULL,   -- signing_time of what was fetched
    first_time          timestamptz NOT NULL,
    last_time           timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, pass_id)
);

-- Pass types whose pushes are stopped: APNs refuses all of them, so nobody's token is to blame.
CREATE TABLE stopped_topics (
    tenant_id           bigint      NOT NULL,
    pass_type_identifier text       NOT NULL,
    reason              text        NOT NULL,
    stop_time           timestamptz NOT NULL,
    probe_time          timestamptz NOT NULL,   -- when one push is to try again
    PRIMARY KEY (tenant_id, pass_type_identifier)
);

CREATE TABLE push_counts (
    tenant_id           bigint      NOT NULL,
    pass_type_identifier text       NOT NULL,
    day                 date        NOT NULL,   -- UTC
    state               smallint    NOT NULL,
    reason              text        NOT NULL,
    count               bigint      NOT NULL,
    PRIMARY KEY (tenant_id, pass_type_identifier, day, state, reason)
);

-- Events in an order that no late commit gets in front of; and by age, to be forgotten.
CREATE INDEX outbox_by_transaction ON outbox (tenant_id, transaction_id, event_id);
CREATE INDEX outbox_by_time ON outbox (create_time);

-- Whose pass type this is, asked by the edge for a device that says no more.
CREATE INDEX signing_identities_by_type ON signing_identities (pass_type_identifier);

-- By which the edge knows that its key belongs to this database.
ALTER TABLE deployment ADD COLUMN edge_key_check bytea;

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY[
        'devices', 'registrations', 'pass_fetches', 'stopped_topics', 'push_counts'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I USING (tenant_id = (SELECT nullif(current_setting('
            '''passmill.tenant_id'', true), '''')::bigint))', table_name);
    END LOOP;
    -- Seen by the service's own upkeep too.
    FOREACH table_name IN ARRAY ARRAY['devices', 'registrations', 'stopped_topics', 'outbox'] LOOP
        EXECUTE format(
            'CREATE POLICY operator_access ON %I USING ((SELECT current_setting(''passmill.operator'', true)) = ''on'')',
            table_name);
    END LOOP;
END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON devices, registrations, pass_fetches, stopped_topics, push_counts TO passmill_app;
GRANT UPDATE (edge_key_check) ON deployment TO passmill_app;
