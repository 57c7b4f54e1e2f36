"""How values of the boundary are shown in templates."""
