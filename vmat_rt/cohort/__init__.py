"""Cases from stores that are no DICOM study."""
