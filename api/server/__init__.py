"""How uvicorn is run: options, TLS, draining, header limits."""
