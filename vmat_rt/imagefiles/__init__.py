"""Patients as image files, NIfTI (.nii, .nii.gz) and NRRD (.nrrd, .seg.nrrd): read to a Case, doses written.

nifti, nrrd   what a file's header says, looked at before anything is decoded
volume        one file -> values on a canonical grid
mapping       which file is what: the mapping file, or the names of the files
patient       a folder -> what a Case is put together from
write         a dose as NIfTI
"""
