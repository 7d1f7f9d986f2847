"""Objects that vmat-rt writes: RTDOSE, RTPLAN, RTSTRUCT and CT, with the header of the study they belong to."""
