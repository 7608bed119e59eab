ALTER TABLE keys ADD COLUMN rules TEXT; -- JSON; NULL has none besides the configured ones
