"""The model repository: models and versions on disk, their specs, the state file."""
