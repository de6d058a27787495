"""The command `run_locally.py`: a model on files, folders, archives and videos."""
