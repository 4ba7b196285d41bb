"""What agents write with."""
