"""Patients into a cohort: clinics' DICOM by the thousand, OpenKBP; checked, without identity, each one once.

scan      headers of a folder, once, by many processes -> groups of files
study     one group -> cases, checked and stored (a worker process)
choose    which of several structure sets, series, plans and doses
keys      random keys <-> patients, in a file outside the cohort
refusals  refused.csv
batch     tasks for workers that may die
dicom, openkbp   the two ways in;  settings  of a new cohort;  summary  what came of it
"""
