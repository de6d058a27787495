"""`make soak`: hours of what clients do, in minutes; nothing may grow, and every answer must be right."""
