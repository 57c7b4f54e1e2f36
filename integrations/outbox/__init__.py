"""Effects going out: the database is the queue, and whoever works on it may be killed at any moment.

Claim a due message for a short lease, attempt it with no transaction open, and settle what came of it only while the
claim still holds. `worker.py` has the whole road.
"""
