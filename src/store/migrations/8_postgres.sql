-- Room for a row's next version in its page, so that a change of a profile touches no index.
ALTER TABLE profiles SET (fillfactor = 80);
