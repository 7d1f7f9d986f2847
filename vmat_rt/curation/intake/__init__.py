"""Patients into a cohort: DICOM or image files by the thousand, OpenKBP; checked, without identity, each one once.

scan      headers of a folder, once, by many processes -> groups of files
study     one group -> cases (a worker process)
images    folders of NIfTI and NRRD, one patient each -> cases (a worker process)
entering  a study of either -> stored or refused, under its key
run       what every run does: tasks, refused.csv, patients joined
choose    which of several structure sets, series, plans and doses
keys      random keys <-> patients, in a file outside the cohort
refusals  refused.csv
batch     tasks for workers that may die
dicom, images, openkbp   the ways in;  settings  of a new cohort;  summary  what came of it
"""
