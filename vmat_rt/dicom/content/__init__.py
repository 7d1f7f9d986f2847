"""What of a DICOM file counts for a result."""
