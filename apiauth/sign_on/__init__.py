"""How staff sign on: the form, what slows guessing down, the second step, and the sessions that come of it."""
