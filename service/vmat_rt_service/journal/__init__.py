"""What the service remembers: jobs and their states, what was sent, and the audit log."""
