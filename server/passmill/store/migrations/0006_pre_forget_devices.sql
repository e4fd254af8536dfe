-- Registrations that ended, by when: to be forgotten.
CREATE INDEX registrations_by_removal ON registrations (remove_time) WHERE remove_time IS NOT NULL;

-- Room in each page for a device's next state: it is pushed to and lists far more often than it comes or goes.
ALTER TABLE devices SET (fillfactor = 80);
