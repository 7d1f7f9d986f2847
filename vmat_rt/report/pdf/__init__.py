"""The two-page summary on paper."""
