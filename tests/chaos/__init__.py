"""`make chaos`: random faults under load; every request must be answered."""
