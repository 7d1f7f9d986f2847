"""From files in the inbox to ready jobs: scan, survey, readiness, staging."""
