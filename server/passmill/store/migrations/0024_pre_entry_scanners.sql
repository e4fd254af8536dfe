-- Which scanner posted an entry: it may take back its own of the last minutes. NULL: none did, or it was posted before.
ALTER TABLE ledger_entries ADD COLUMN scanner_id uuid;
