"""Keys, guards and the rate limit."""
