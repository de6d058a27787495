"""A model's life: load, check, swap, watch, administer."""
