"""Running uvicorn: options, TLS, draining, header limits."""
