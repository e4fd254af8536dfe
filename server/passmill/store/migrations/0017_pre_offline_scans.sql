-- Offline scans are listed: those heard of last first, all of a tenant, of a venue, or the conflicts alone.
-- `conflicting_use_id`: of a conflict, the use that was known first.
ALTER TABLE offline_scans ADD COLUMN conflicting_use_id uuid;
CREATE INDEX offline_scans_heard ON offline_scans (tenant_id, create_time, origin, local_sequence);
CREATE INDEX offline_scans_by_venue ON offline_scans (tenant_id, venue_id, create_time, origin, local_sequence);
CREATE INDEX offline_scans_conflicts ON offline_scans (tenant_id, create_time, origin, local_sequence)
    WHERE outcome = 'CONFLICT';
