-- Tags by which segments choose passes. Not in the row of a pass: one without tags costs nothing.
CREATE TABLE pass_tags (
    tenant_id           bigint      NOT NULL,
    tag                 text        NOT NULL,
    pass_id             uuid        NOT NULL,
    PRIMARY KEY (tenant_id, tag, pass_id)
);
CREATE INDEX pass_tags_by_pass ON pass_tags (tenant_id, pass_id);

ALTER TABLE pass_tags ENABLE ROW LEVEL SECURITY;
ALTER TABLE pass_tags FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON pass_tags
    USING (tenant_id = (SELECT nullif(current_setting('passmill.tenant_id', true), '')::bigint));
GRANT SELECT, INSERT, DELETE ON pass_tags TO passmill_app;
