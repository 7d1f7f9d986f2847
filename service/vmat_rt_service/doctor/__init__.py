"""What must be right before the first study arrives."""
