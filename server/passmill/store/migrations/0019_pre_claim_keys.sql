-- For whom claim links are, so that those of an erased holder are found before anybody has claimed by them.

-- Of links whose draft names a telephone number, an e-mail address or an id in another system.
CREATE TABLE claim_link_keys (
    tenant_id           bigint      NOT NULL,
    key_hash            bytea       NOT NULL,   -- as in holder_keys
    link_id             uuid        NOT NULL,
    PRIMARY KEY (tenant_id, key_hash, link_id),
    FOREIGN KEY (tenant_id, link_id) REFERENCES claim_links
);
CREATE INDEX claim_link_keys_by_link ON claim_link_keys (tenant_id, link_id);

ALTER TABLE claim_link_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE claim_link_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON claim_link_keys
    USING (tenant_id = (SELECT nullif(current_setting('passmill.tenant_id', true), '')::bigint));

GRANT SELECT, INSERT, DELETE ON claim_link_keys TO passmill_app;
