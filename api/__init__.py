"""HTTP: routes, schemas, settings, errors. The only package that knows FastAPI."""

VERSION = "0.1.0"
