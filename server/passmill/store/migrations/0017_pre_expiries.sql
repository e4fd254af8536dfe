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
