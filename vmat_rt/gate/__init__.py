"""Whether a case makes sense, and may be predicted: anatomy, contents, relations, dose."""
