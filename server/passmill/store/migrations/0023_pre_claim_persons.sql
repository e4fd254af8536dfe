-- Who must give both a telephone number and an e-mail address is known again by each.

ALTER TABLE claims ADD COLUMN second_person_hash bytea;    -- keyed hash of the address, where person_hash is the number's
ALTER TABLE claims ADD UNIQUE (tenant_id, link_id, second_person_hash);
