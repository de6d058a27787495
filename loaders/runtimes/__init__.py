"""Model files to sessions: value types, the base class, runtimes."""
