"""The partner API, `/api/v1/`: what consumers read of registration."""
