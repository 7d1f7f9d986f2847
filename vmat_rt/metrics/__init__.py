"""DVH, gamma, planning goals, dose error and cohort statistics."""
