-- Which scanner posted an entry: it may take back its own of the last minutes. NULL: none did, or it was posted before.
ALTER TABLE ledger_entries ADD COLUMN scanner_id uuid;

-- Scanners' keys end. Those that were to last for ever end 400 days from now; of all tenants: the owner is kept by policies
-- too, but for this.
ALTER TABLE api_keys NO FORCE ROW LEVEL SECURITY;
ALTER TABLE scanners NO FORCE ROW LEVEL SECURITY;
UPDATE api_keys AS k SET expire_time = now() + interval '400 days' FROM scanners AS s
WHERE s.tenant_id = k.tenant_id AND s.key_id = k.key_id AND k.expire_time IS NULL;
ALTER TABLE scanners FORCE ROW LEVEL SECURITY;
ALTER TABLE api_keys FORCE ROW LEVEL SECURITY;
