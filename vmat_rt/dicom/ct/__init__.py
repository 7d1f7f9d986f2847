"""CT files to one volume in HU: series, slices and their places, units."""
