"""The wire: the one place of timeouts, size caps and what a failure means."""
