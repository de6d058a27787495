"""Clients that know the right answer to each of their requests."""
