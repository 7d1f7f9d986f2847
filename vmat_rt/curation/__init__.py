"""What is done to cohorts: patients taken in, simulated or shipped ones, what a cohort holds, cases as DICOM."""
