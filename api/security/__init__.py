"""API keys, guards, the rate limit and the delay of repeated rejections."""
