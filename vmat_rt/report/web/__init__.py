"""The report's viewer and charts: ES modules, how they become one script, and the volumes that they show."""
