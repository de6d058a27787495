"""`make soak`: a long mixed load. Memory, threads and descriptors must not grow, and every answer must be right."""
