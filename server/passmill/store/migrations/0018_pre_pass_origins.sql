-- Passes that took another's place: what that one has used they have used, and they go on where it stood.

CREATE TABLE pass_origins (
    tenant_id           bigint      NOT NULL,
    pass_id             uuid        NOT NULL,
    origin_id           uuid        NOT NULL,   -- the first of them, which took nobody's place
    PRIMARY KEY (tenant_id, pass_id)
);

-- Redemptions, stays and places in chains are kept under the origin, so that of a pass and its copies one has a use.
ALTER TABLE redemptions ADD COLUMN shown_pass_id uuid;  -- which of them was shown; NULL: the origin

ALTER TABLE pass_origins ENABLE ROW LEVEL SECURITY;
ALTER TABLE pass_origins FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON pass_origins
    USING (tenant_id = (SELECT nullif(current_setting('passmill.tenant_id', true), '')::bigint));

GRANT SELECT, INSERT ON pass_origins TO passmill_app;
