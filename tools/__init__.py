"""Programs that are not the service."""
