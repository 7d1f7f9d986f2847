"""How far a prediction may be believed: intervals that hold what they promise, from cases that a model has not seen."""
