ALTER TABLE profiles ADD COLUMN learned TEXT; -- JSON of what choices told; NULL has none
