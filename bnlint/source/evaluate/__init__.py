"""Abstract interpretation of the intermediate representation."""
