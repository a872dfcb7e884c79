"""What a suite is, and what one run of it does."""
