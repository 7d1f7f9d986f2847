"""RTDOSE in several files: the planes of one dose."""
