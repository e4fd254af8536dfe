-- Reward sign-ups: what devices sent in, and the passes whose holder has signed up.

-- When its holder signed up with it; until then its bundle has the form, where its revision has one. NULL takes no room.
ALTER TABLE passes ADD COLUMN personalize_time timestamptz;

-- A sign-up from when the edge takes it in until its signature is no longer asked for. What was said of the holder is
-- here only until the pass has it.
CREATE TABLE personalizations (
    tenant_id           bigint      NOT NULL,
    request_id          uuid        NOT NULL,   -- from pass, token and answers: the same sign-up sent again is the same row
    pass_id             uuid        NOT NULL,
    token               text        NOT NULL,
    info                text        NOT NULL,   -- JSON; '' once the pass has it
    create_time         timestamptz NOT NULL,
    signature           bytea,                  -- detached CMS over the token; NULL until the pass is personalised
    end_time            timestamptz,
    PRIMARY KEY (tenant_id, request_id)
);
CREATE INDEX personalizations_open ON personalizations (tenant_id, pass_id) WHERE end_time IS NULL;
CREATE INDEX personalizations_by_time ON personalizations (create_time);

ALTER TABLE personalizations ENABLE ROW LEVEL SECURITY;
ALTER TABLE personalizations FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON personalizations
    USING (tenant_id = (SELECT nullif(current_setting('passmill.tenant_id', true), '')::bigint));
-- Old ones are forgotten by the service's own upkeep.
CREATE POLICY operator_access ON personalizations
    USING ((SELECT current_setting('passmill.operator', true)) = 'on');
GRANT SELECT, INSERT, UPDATE, DELETE ON personalizations TO passmill_app;
