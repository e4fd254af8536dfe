-- Who is erased is found among links and claims by an index: one campaign may have made a million. Its links have their
-- passes' ids and are found by their key, so they cost nothing here.
CREATE INDEX claim_links_by_pass ON claim_links (tenant_id, pass_id) WHERE pass_id <> link_id;
CREATE INDEX claims_by_pass ON claims (tenant_id, pass_id);
