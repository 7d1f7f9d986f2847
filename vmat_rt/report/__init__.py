"""Report pages, figures and the published JSON."""
