"""What keeps the state table equal to the fold of the event table."""
