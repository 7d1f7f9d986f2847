"""Batch evaluation: models over a cohort's cases, on this machine or a Dask cluster, as files that others read."""
