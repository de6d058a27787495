"""Who waits, who runs, and on how many cores."""
