"""What others find: results and refusals, each by one rename."""
