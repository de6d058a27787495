"""`make fuzz`: bytes nobody would send, into every place that reads bytes."""
