"""What is true about a student: people, catalogue, enrollment and billing."""
