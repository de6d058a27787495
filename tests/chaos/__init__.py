"""`make chaos`: things fail under load, and every request is answered all the same."""
