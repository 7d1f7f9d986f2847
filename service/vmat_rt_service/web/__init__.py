"""The status page, metrics and health, served by threads beside the loop."""
