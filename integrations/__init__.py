"""Everything that crosses the boundary of the house."""
