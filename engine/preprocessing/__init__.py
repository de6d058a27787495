"""Picture -> tensor."""
