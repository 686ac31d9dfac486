"""What people are shown: the console, and the rows of its table."""
