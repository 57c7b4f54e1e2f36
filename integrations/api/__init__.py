"""What machines ask of the hub."""
