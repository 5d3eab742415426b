-- Ledger rows recorded before kept_from are past their account's retention; those before
-- cleaned_to are gone. kept_from is raised first and never lowered.
ALTER TABLE accounts ADD COLUMN kept_from BIGINT NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN cleaned_to BIGINT NOT NULL DEFAULT 0;
