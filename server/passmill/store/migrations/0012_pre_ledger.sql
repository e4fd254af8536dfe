-- Points, stamps and stored money: a ledger that is only added to, and the balances that are its sums.

-- What a program counts, where its passes show it, and how sales are paid by it (NULL: not at all).
CREATE TABLE balance_units (
    tenant_id           bigint      NOT NULL,
    program_id          uuid        NOT NULL,
    unit                text        NOT NULL,   -- "points", or a currency's code
    kind                smallint    NOT NULL,
    slot                text        NOT NULL,   -- '' for none
    max_share_percent   integer,
    value_amount        bigint,                 -- so many of the unit
    value_minor_units   bigint,                 -- are worth this
    value_currency      text,
    create_time         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, program_id, unit),
    FOREIGN KEY (tenant_id, program_id) REFERENCES programs
);

CREATE TABLE tiers (
    tenant_id           bigint      NOT NULL,
    program_id          uuid        NOT NULL,
    rank                integer     NOT NULL,   -- 1 is the lowest
    tier                text        NOT NULL,
    unit                text        NOT NULL,
    at_least            bigint      NOT NULL,
    within_days         integer     NOT NULL,   -- 0 for ever
    slot                text        NOT NULL,   -- '' for none
    slot_value          text        NOT NULL,
    PRIMARY KEY (tenant_id, program_id, rank),
    UNIQUE (tenant_id, program_id, tier),
    FOREIGN KEY (tenant_id, program_id) REFERENCES programs
);

-- A pass that shares another's account; all others have one of their own, whose id is theirs.
CREATE TABLE pass_accounts (
    tenant_id           bigint      NOT NULL,
    pass_id             uuid        NOT NULL,
    account_id          uuid        NOT NULL,
    create_time         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, pass_id)
);
CREATE INDEX pass_accounts_by_account ON pass_accounts (tenant_id, account_id);

-- Each entry goes on where the one before it ended: the second foreign key demands an entry with the sequence before and,
-- as its balance_after, this one's balance_before. So balance_after is the sum of all amounts up to here, whatever
-- program writes them.
CREATE TABLE ledger_entries (
    tenant_id           bigint      NOT NULL,
    account_id          uuid        NOT NULL,
    unit                text        NOT NULL,
    sequence            integer     NOT NULL CHECK (sequence >= 1),
    previous_sequence   integer     GENERATED ALWAYS AS (nullif(sequence - 1, 0)) STORED,
    kind                smallint    NOT NULL,
    amount              bigint      NOT NULL,
    balance_before      bigint      GENERATED ALWAYS AS (balance_after - amount) STORED,
    balance_after       bigint      NOT NULL,
    entry_id            uuid        NOT NULL,
    request_id          uuid        NOT NULL,
    reversed_entry_id   uuid,
    hold_id             uuid,
    reference           text        NOT NULL,
    venue               text        NOT NULL,
    expire_time         timestamptz,            -- of what was earned
    occur_time          timestamptz NOT NULL,
    create_time         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, account_id, unit, sequence),
    CONSTRAINT ledger_entries_positive CHECK (balance_after >= 0),
    CONSTRAINT ledger_entries_first CHECK (sequence > 1 OR balance_before = 0),
    UNIQUE (tenant_id, account_id, unit, sequence, balance_after),
    CONSTRAINT ledger_entries_chain FOREIGN KEY (tenant_id, account_id, unit, previous_sequence, balance_before)
        REFERENCES ledger_entries (tenant_id, account_id, unit, sequence, balance_after)
);
CREATE UNIQUE INDEX ledger_entries_by_id ON ledger_entries (tenant_id, entry_id);
-- An entry is posted once under a key, and taken back once.
CREATE UNIQUE INDEX ledger_entries_once ON ledger_entries (tenant_id, request_id);
CREATE UNIQUE INDEX ledger_entries_reversed_once ON ledger_entries (tenant_id, reversed_entry_id)
    WHERE reversed_entry_id IS NOT NULL;

-- An account's last entry, and what is held of it. The foreign key says that it is the last entry's.
CREATE TABLE balances (
    tenant_id           bigint      NOT NULL,
    account_id          uuid        NOT NULL,
    unit                text        NOT NULL,
    version             integer     NOT NULL,   -- entries so far: the sequence of the last
    last_sequence       integer     GENERATED ALWAYS AS (nullif(version, 0)) STORED,
    balance             bigint      NOT NULL,
    held                bigint      NOT NULL,
    earned              bigint      NOT NULL,   -- by EARN, less what of it was taken back
    PRIMARY KEY (tenant_id, account_id, unit),
    CONSTRAINT balances_positive CHECK (balance >= 0),
    CONSTRAINT balances_held CHECK (held >= 0 AND held <= balance),
    CHECK (earned >= 0),
    CHECK (version > 0 OR balance = 0),
    CONSTRAINT balances_are_sums FOREIGN KEY (tenant_id, account_id, unit, last_sequence, balance)
        REFERENCES ledger_entries (tenant_id, account_id, unit, sequence, balance_after)
);

CREATE TABLE holds (
    tenant_id           bigint      NOT NULL,
    hold_id             uuid        NOT NULL,
    account_id          uuid        NOT NULL,
    unit                text        NOT NULL,
    amount              bigint      NOT NULL CHECK (amount > 0),
    state               smallint    NOT NULL,
    reference           text        NOT NULL,
    expire_time         timestamptz NOT NULL,
    create_time         timestamptz NOT NULL,
    end_time            timestamptz,
    PRIMARY KEY (tenant_id, hold_id),
    FOREIGN KEY (tenant_id, account_id, unit) REFERENCES balances
);
CREATE INDEX holds_open ON holds (tenant_id, account_id, unit) WHERE state = 1;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY
        ARRAY['balance_units', 'tiers', 'pass_accounts', 'ledger_entries', 'balances', 'holds']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I USING'
            ' (tenant_id = (SELECT nullif(current_setting(''passmill.tenant_id'', true), '''')::bigint))', name);
    END LOOP;
END $$;

GRANT SELECT, INSERT, UPDATE ON balance_units, balances, holds TO passmill_app;
GRANT SELECT, INSERT, DELETE ON tiers TO passmill_app;
GRANT SELECT, INSERT ON pass_accounts, ledger_entries TO passmill_app;
