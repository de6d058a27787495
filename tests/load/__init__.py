"""Clients that know what every answer must say."""
