"""CT slices that lost what makes them a series, or links them to their RTSTRUCT: most often by de-identification.

What is proposed here is only a set of files to be looked at together: the pipeline judges whether they are one study,
and refuses with its remedy (`accept_deidentified`) what it may not take for one.
"""

from __future__ import annotations

from collections.abc import Iterable

from vmat_rt_service.intake.catalogue import Catalogue, find_folder_of

_FEWEST = 2


def find_scattered(catalogue: Catalogue, structures: str, series: set[str]) -> list[str]:
    """The slices that may be the CT of an RTSTRUCT, none of whose listed instances is here; empty where there are none.

    series: those of its frames of reference. Slices with a SeriesInstanceUID each are taken together. Where it names no
    frame that is here: slices of its study, or else of its folder, that lie in no other RTSTRUCT's frame.
    """
    if series:
        single = {s for s in series if len(catalogue.ct_by_series[s]) == 1}
        return catalogue.find_ct_near(single, structures) if len(single) >= _FEWEST else []
    header = catalogue.headers[structures]
    claimed = catalogue.find_claimed_frames(structures)
    free = [path for paths in catalogue.ct_by_sop.values() for path in paths if _is_free(catalogue, path, claimed)]
    of_study = [path for path in free if header.study and catalogue.headers[path].study == header.study]
    beside = [path for path in free if find_folder_of(path) == find_folder_of(structures)]
    return _choose(catalogue, structures, of_study) or _choose(catalogue, structures, beside)


def _is_free(catalogue: Catalogue, path: str, claimed: set[str]) -> bool:
    return not claimed.intersection(catalogue.headers[path].frames)


def _choose(catalogue: Catalogue, structures: str, paths: Iterable[str]) -> list[str]:
    """One file for each instance, in order along z; none where too few of them are single slices."""
    wanted = set(paths)
    chosen = catalogue.find_ct_near({catalogue.headers[path].series for path in wanted}, structures)
    chosen = [path for path in chosen if path in wanted and catalogue.headers[path].z_mm is not None]
    return chosen if len(chosen) >= _FEWEST else []
