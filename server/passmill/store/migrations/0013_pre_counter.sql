-- The counter: where passes are shown, what may be had for them, what was had.

CREATE TABLE venues (
    tenant_id           bigint      NOT NULL,
    venue_id            uuid        NOT NULL,
    display_name        text        NOT NULL,
    partner             text        NOT NULL,   -- '' when the tenant itself runs it
    create_time         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, venue_id)
);

-- A device of staff with an API key of its own.
CREATE TABLE scanners (
    tenant_id           bigint      NOT NULL,
    scanner_id          uuid        NOT NULL,
    venue_id            uuid        NOT NULL,
    display_name        text        NOT NULL,
    rights              text[]      NOT NULL,
    key_id              text        NOT NULL,
    enrol_time          timestamptz NOT NULL,
    revoke_time         timestamptz,
    PRIMARY KEY (tenant_id, scanner_id)
);
CREATE UNIQUE INDEX scanners_by_key ON scanners (tenant_id, key_id);

-- A code that makes one device a scanner. Only its SHA-256 is kept.
CREATE TABLE scanner_codes (
    tenant_id           bigint      NOT NULL,
    code_hash           bytea       NOT NULL,
    venue_id            uuid        NOT NULL,
    rights              text[]      NOT NULL,
    create_time         timestamptz NOT NULL,
    expire_time         timestamptz NOT NULL,
    use_time            timestamptz,
    PRIMARY KEY (tenant_id, code_hash)
);
-- Codes are presented without a tenant.
CREATE UNIQUE INDEX scanner_codes_by_hash ON scanner_codes (code_hash);

CREATE TABLE offers (
    tenant_id           bigint      NOT NULL,
    offer_id            uuid        NOT NULL,
    program_id          uuid        NOT NULL,
    template_id         uuid,                   -- NULL: for all passes of the program
    display_name        text        NOT NULL,
    max_uses            integer     NOT NULL CHECK (max_uses >= 0), -- a pass; 0: without end
    cost_unit           text,
    cost_amount         bigint,
    worth_unit          text,
    worth_amount        bigint,
    valid_from          timestamptz,
    valid_until         timestamptz,
    venue_ids           uuid[]      NOT NULL,   -- empty: everywhere
    tiers               text[]      NOT NULL,   -- empty: all
    attention           text        NOT NULL,
    mark                text        NOT NULL,   -- JSON: how a pass shows its use
    state               smallint    NOT NULL,
    version             integer     NOT NULL,
    create_time         timestamptz NOT NULL,
    update_time         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, offer_id)
);
CREATE INDEX offers_by_program ON offers (tenant_id, program_id, offer_id);

CREATE TABLE counter_policies (
    tenant_id           bigint      NOT NULL,
    program_id          uuid        NOT NULL,
    demands             jsonb       NOT NULL,
    photo_slot          text        NOT NULL,
    tier_slot           text        NOT NULL,
    attention_slots     text[]      NOT NULL,
    PRIMARY KEY (tenant_id, program_id)
);

CREATE TABLE redemptions (
    tenant_id           bigint      NOT NULL,
    redemption_id       uuid        NOT NULL,
    pass_id             uuid        NOT NULL,
    offer_id            uuid        NOT NULL,
    use_number          integer     NOT NULL CHECK (use_number >= 1),
    venue_id            uuid,
    scanner_id          uuid,
    key_id              text        NOT NULL,
    staff               text        NOT NULL,
    scan_time           timestamptz NOT NULL,   -- when the pass was shown
    create_time         timestamptz NOT NULL,   -- when the service heard of it
    is_offline          boolean     NOT NULL,
    cost_unit           text,
    cost_amount         bigint,
    undo                text,                   -- JSON: what the pass showed before it was used up; NULL when nothing else
    reverse_time        timestamptz,
    reverse_reason      text        NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, redemption_id)
);
-- Once is once: of all copies of a pass, at all scanners, the one whose row gets in here has the use.
CREATE UNIQUE INDEX redemptions_once ON redemptions (tenant_id, pass_id, offer_id, use_number)
    WHERE reverse_time IS NULL;
CREATE INDEX redemptions_by_pass ON redemptions (tenant_id, pass_id, redemption_id);
CREATE INDEX redemptions_by_venue ON redemptions (tenant_id, venue_id, redemption_id);

CREATE TABLE check_ins (
    tenant_id           bigint      NOT NULL,
    check_in_id         uuid        NOT NULL,
    pass_id             uuid        NOT NULL,
    venue_id            uuid        NOT NULL,
    in_scanner_id       uuid,
    in_staff            text        NOT NULL,
    in_time             timestamptz NOT NULL,
    out_scanner_id      uuid,
    out_staff           text        NOT NULL DEFAULT '',
    out_time            timestamptz,
    is_offline          boolean     NOT NULL,
    create_time         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, check_in_id)
);
-- A pass is in a venue once.
CREATE UNIQUE INDEX check_ins_open ON check_ins (tenant_id, pass_id, venue_id) WHERE out_time IS NULL;

-- What scanners did while offline, whatever became of it. `origin`: the scanner, or the API key of a till.
CREATE TABLE offline_scans (
    tenant_id           bigint      NOT NULL,
    origin              text        NOT NULL,
    local_sequence      bigint      NOT NULL,
    fingerprint         bytea       NOT NULL,
    outcome             text        NOT NULL,
    reason              text        NOT NULL,
    action              text        NOT NULL,
    pass_id             uuid,
    offer_id            uuid,
    redemption_id       uuid,
    venue_id            uuid,
    staff               text        NOT NULL,
    scan_time           timestamptz NOT NULL,
    create_time         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, origin, local_sequence)
);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY[
        'venues', 'scanners', 'scanner_codes', 'offers', 'counter_policies', 'redemptions', 'check_ins', 'offline_scans'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I USING (tenant_id = (SELECT nullif(current_setting('
            '''passmill.tenant_id'', true), '''')::bigint))', table_name);
    END LOOP;
END $$;
-- Whoever has a code sees its row, and by that the tenant.
CREATE POLICY presented_secret ON scanner_codes FOR SELECT
    USING (code_hash = (SELECT decode(nullif(current_setting('passmill.secret_hash', true), ''), 'hex')));

-- What happened is not rewritten: of a redemption only that it was taken back, of a stay only its end.
GRANT SELECT, INSERT ON venues, redemptions, check_ins, offline_scans TO passmill_app;
GRANT SELECT, INSERT, UPDATE ON scanners, offers, counter_policies TO passmill_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON scanner_codes TO passmill_app;
GRANT UPDATE (undo, reverse_time, reverse_reason) ON redemptions TO passmill_app;
GRANT UPDATE (out_scanner_id, out_staff, out_time) ON check_ins TO passmill_app;
