"""A request's body -> bytes in memory or on disk, bounded."""
