-- Campaigns: one act on many passes. Recipients are kept as they came, a chunk a row in columns; only those that were
-- not served have a row of their own. What a shard did is one row, written with the passes it made.

CREATE TABLE campaigns (
    tenant_id           bigint      NOT NULL REFERENCES tenants,
    campaign_id         uuid        NOT NULL,
    display_name        text        NOT NULL,
    action              smallint    NOT NULL,   -- 1 issue, 2 update, 3 void, 4 notify
    definition          jsonb       NOT NULL,   -- action, segment and rollout: passmill.domain.campaigns writes and reads it
    state               smallint    NOT NULL,
    state_reason        text        NOT NULL,
    priority            smallint    NOT NULL,
    version             integer     NOT NULL,
    total               bigint      NOT NULL,   -- recipients, known when it starts
    invalid             bigint      NOT NULL,   -- of these refused when they were loaded
    first_reference     bigint      NOT NULL,   -- the tenant's counter of reference numbers, where its block begins
    void_issued         boolean     NOT NULL,   -- what cancelling was asked to do
    rolls_back          uuid,
    create_time         timestamptz NOT NULL,
    start_time          timestamptz,            -- when it began, or shall begin
    end_time            timestamptz,
    PRIMARY KEY (tenant_id, campaign_id)
);

CREATE TABLE recipient_streams (
    tenant_id           bigint      NOT NULL,
    stream_id           uuid        NOT NULL,
    campaign_id         uuid        NOT NULL,
    next_offset         bigint      NOT NULL,
    writer_epoch        bigint      NOT NULL,
    state               smallint    NOT NULL,
    invalid_count       bigint      NOT NULL,
    create_time         timestamptz NOT NULL,
    resume_after        text,                   -- of one that the service itself fills: where it goes on
    PRIMARY KEY (tenant_id, stream_id),
    FOREIGN KEY (tenant_id, campaign_id) REFERENCES campaigns
);
CREATE INDEX recipient_streams_by_campaign ON recipient_streams (tenant_id, campaign_id, stream_id);

CREATE TABLE recipient_chunks (
    tenant_id           bigint      NOT NULL,
    stream_id           uuid        NOT NULL,
    first_offset        bigint      NOT NULL,
    row_count           integer     NOT NULL,   -- at most 1,000
    content             text        NOT NULL,   -- JSON, a list a column: passmill.domain.recipients writes and reads it
    PRIMARY KEY (tenant_id, stream_id, first_offset)
);

-- Recipients that were not served, and why.
CREATE TABLE recipient_failures (
    tenant_id           bigint      NOT NULL,
    campaign_id         uuid        NOT NULL,
    stream_id           uuid        NOT NULL,
    row_offset          bigint      NOT NULL,
    kind                smallint    NOT NULL,   -- 1 refused when loaded, 2 tried in vain, 3 duplicate
    external_id         text        NOT NULL,
    reason              text        NOT NULL,
    message             text        NOT NULL,
    PRIMARY KEY (tenant_id, campaign_id, stream_id, row_offset)
);

-- A run of recipients that a worker serves in one step. Its row is written with what it did, in one transaction: so it is
-- done once, however often it is tried.
CREATE TABLE campaign_shards (
    tenant_id           bigint      NOT NULL,
    campaign_id         uuid        NOT NULL,
    shard_number        integer     NOT NULL,
    kind                smallint    NOT NULL,   -- 1 act, 2 act again on those that failed, 3 void what was issued
    stream_id           uuid        NOT NULL,
    first_offset        bigint      NOT NULL,
    end_offset          bigint      NOT NULL,
    first_position      bigint      NOT NULL,   -- of its first recipient among all of the campaign
    wave                integer     NOT NULL,
    state               smallint    NOT NULL,   -- 1 not yet queued, 2 queued, 3 done, 4 skipped
    succeeded           integer     NOT NULL,
    failed              integer     NOT NULL,
    duplicate           integer     NOT NULL,
    start_time          timestamptz,
    end_time            timestamptz,
    sign_seconds        real        NOT NULL,
    write_seconds       real        NOT NULL,
    is_forgiven         boolean     NOT NULL,   -- its failures were seen by whoever resumed the campaign
    row_offsets         bigint[],               -- of kind 2: which of its recipients
    undo                text,                   -- of an update: what its passes were before, a list a column
    PRIMARY KEY (tenant_id, campaign_id, shard_number)
);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY[
        'campaigns', 'recipient_streams', 'recipient_chunks', 'recipient_failures', 'campaign_shards'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I USING (tenant_id = (SELECT nullif(current_setting('
            '''passmill.tenant_id'', true), '''')::bigint))', table_name);
    END LOOP;
END $$;

GRANT SELECT, INSERT, UPDATE ON campaigns, recipient_streams, campaign_shards TO passmill_app;
GRANT SELECT, INSERT, DELETE ON recipient_chunks TO passmill_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON recipient_failures TO passmill_app;
