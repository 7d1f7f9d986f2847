"""What is in a cohort: counts, volumes, dose-volume statistics, goals, outliers, and two figures.

survey     one case, in a worker process: metrics, curves, overlaps, its picture
outliers   cases that stand apart from the others, with reasons
info       everything together: `describe_cohort`
text       the same for a person at a terminal
"""
