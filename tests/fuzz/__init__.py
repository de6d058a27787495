"""`make fuzz`: random and damaged input to everything that reads bytes."""
