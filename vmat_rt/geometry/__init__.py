"""Geometry of voxels, contours and beams in the DICOM patient system (LPS, mm)."""
