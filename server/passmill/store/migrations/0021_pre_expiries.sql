-- What was earned with an end is taken when that has come, by the service itself; tiers fall when their window has passed.

-- From when on some of the balance may be past its end; NULL: none ever will be. It may be early, never late.
ALTER TABLE balances ADD COLUMN next_expire_time timestamptz;

-- Of all tenants: the owner is kept by policies too, but for this.
ALTER TABLE balances NO FORCE ROW LEVEL SECURITY;
ALTER TABLE ledger_entries NO FORCE ROW LEVEL SECURITY;
UPDATE balances AS b SET next_expire_time = e.first
FROM (
    SELECT tenant_id, account_id, unit, min(expire_time) AS first FROM ledger_entries
    WHERE expire_time IS NOT NULL GROUP BY tenant_id, account_id, unit
) AS e
WHERE b.tenant_id = e.tenant_id AND b.account_id = e.account_id AND b.unit = e.unit;
ALTER TABLE ledger_entries FORCE ROW LEVEL SECURITY;
ALTER TABLE balances FORCE ROW LEVEL SECURITY;

-- One line for an account and unit, and only where something has an end.
CREATE INDEX balances_expiring ON balances (next_expire_time, tenant_id, account_id, unit)
    WHERE next_expire_time IS NOT NULL;
-- The service's own upkeep finds those that are due.
CREATE POLICY operator_access ON balances USING ((SELECT current_setting('passmill.operator', true)) = 'on');

-- Up to when tiers were looked at, of programs whose tiers count what was earned within some days: whoever earned something
-- that is no longer counted since then may have fallen.
CREATE TABLE tier_sweeps (
    tenant_id           bigint      NOT NULL,
    program_id          uuid        NOT NULL,
    sweep_time          timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, program_id),
    FOREIGN KEY (tenant_id, program_id) REFERENCES programs
);
ALTER TABLE tiers NO FORCE ROW LEVEL SECURITY;
INSERT INTO tier_sweeps SELECT DISTINCT tenant_id, program_id, now() FROM tiers WHERE within_days > 0;
ALTER TABLE tiers FORCE ROW LEVEL SECURITY;
ALTER TABLE tier_sweeps ENABLE ROW LEVEL SECURITY;
ALTER TABLE tier_sweeps FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tier_sweeps USING
    (tenant_id = (SELECT nullif(current_setting('passmill.tenant_id', true), '')::bigint));
CREATE POLICY operator_access ON tier_sweeps USING ((SELECT current_setting('passmill.operator', true)) = 'on');
GRANT SELECT, INSERT, UPDATE ON tier_sweeps TO passmill_app;

-- Entries come about in the order in which they happened, so a line for a hundred pages finds what happened then.
CREATE INDEX ledger_entries_by_time ON ledger_entries USING brin (occur_time) WITH (autosummarize = on);
