"""The geometric predictor: gradient boosting on distances and beams."""
