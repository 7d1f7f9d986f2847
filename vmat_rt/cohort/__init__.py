"""Cases from stores that are not a DICOM study."""
