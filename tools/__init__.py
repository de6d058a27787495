"""Command-line programs beside the service."""
