"""Facts about external systems, one module for each kind."""
