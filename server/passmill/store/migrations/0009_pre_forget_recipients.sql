-- Recipients of campaigns that ended long ago are forgotten: which campaigns still have some.
ALTER TABLE campaigns ADD COLUMN recipients_forgotten boolean NOT NULL DEFAULT false;
CREATE INDEX campaigns_with_recipients ON campaigns (end_time) WHERE end_time IS NOT NULL AND NOT recipients_forgotten;
-- Seen by the service's own upkeep too.
CREATE POLICY operator_access ON campaigns USING ((SELECT current_setting('passmill.operator', true)) = 'on');
