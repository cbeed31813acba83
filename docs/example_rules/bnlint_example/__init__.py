"""Rules of our own for bnlint."""
