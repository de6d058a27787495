"""File -> session: value types, the base class, the runtimes."""
