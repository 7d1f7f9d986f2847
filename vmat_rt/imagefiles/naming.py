"""A folder without a mapping file -> a mapping, by the names of its files; or a sentence that proposes one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from vmat_rt.errors import InputError, Problem
from vmat_rt.imagefiles.mapping import MAPPING_FILE, ImageMapping, MaskSource, write_proposal
from vmat_rt.imagefiles.nrrd import read_segments
from vmat_rt.imagefiles.volume import SUFFIXES, find_suffix, strip_suffix
from vmat_rt.naming import alias_table, fold, propose_aliases
from vmat_rt.protocol import Protocol

CT, DOSE = "ct", "dose"
_EXAMPLE: Final = "{ct: ct.nii.gz, structures: {PTV_7000: ptv.nii.gz}}"
_LISTED: Final = 20


def list_image_files(folder: Path) -> tuple[Path, ...]:
    """The NIfTI and NRRD files that lie directly in a folder, by name; hidden ones are passed over."""
    return tuple(
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".") and find_suffix(path) is not None
    )


def map_by_names(folder: Path, protocols: Sequence[Protocol]) -> ImageMapping:
    """ct.nii.gz, dose.nii.gz (if there is one), and NAME.nii.gz by TG-263 name or alias; also .nii and .nrrd.

    A .seg.nrrd file stands for its named segments. Raises InputError: NO_IMAGES, NO_CT, or NAME_UNKNOWN with a mapping
    to begin with.
    """
    files = list_image_files(folder)
    if not files:
        message = f"There is no file that ends in {', '.join(SUFFIXES)} in the folder."
        raise InputError(Problem("NO_IMAGES", message, "Give the folder that holds the patient's images."))
    known: dict[str, str] = {}
    for protocol in protocols:
        known.update(alias_table(protocol))
    ct, dose = _find_called(CT, files), _find_called(DOSE, files)
    named = list(_find_sources([path for path in files if path not in (*ct, *dose)]))
    sources = dict(named)
    problems = [
        *_report_not_one(CT, ct, files, sources),
        *(_report_not_one(DOSE, dose, files, sources) if dose else ()),
    ]
    names = Counter(name for name, _ in named)
    problems += [_report_twice(name, count) for name, count in names.items() if count > 1]
    unknown = [name for name in sources if fold(name) not in known]
    if unknown:
        problems.append(_report_unknown(unknown, files, sources, protocols))
    if not sources:
        problems.append(
            Problem("TARGET_MISSING", "There is no mask beside the CT.", _write_remedy(files, sources, protocols))
        )
    if problems:
        raise InputError(problems)
    return ImageMapping(ct=ct[0].name, dose=dose[0].name if dose else None, structures=sources)


def _find_called(stem: str, files: Sequence[Path]) -> list[Path]:
    return [path for path in files if strip_suffix(path).casefold() == stem]


def _find_sources(files: Sequence[Path]) -> Iterator[tuple[str, MaskSource]]:
    for path in files:
        segments = read_segments(path) if path.name.lower().endswith(".nrrd") else ()
        for segment in segments:
            yield segment.name, MaskSource(file=path.name, segment=segment.name)
        if not segments:
            yield strip_suffix(path), MaskSource(file=path.name)


def _report_not_one(
    stem: str, matches: Sequence[Path], files: Sequence[Path], sources: dict[str, MaskSource]
) -> Iterator[Problem]:
    if len(matches) == 1:
        return
    code = "NO_CT" if stem == CT else "SEVERAL_DOSES"
    message = (
        f"Of the {len(files)} image files {len(matches) or 'none'} {'are' if matches else 'is'} called {stem}.nii.gz."
    )
    yield Problem(code, message, _write_remedy(files, sources, ()))


def _report_twice(name: str, count: int) -> Problem:
    message = f"{count} masks in the folder are called {name!r}."
    return Problem("TWO_ROIS_ONE_NAME", message, "Keep the right one, or name it in a mapping file.")


def _report_unknown(
    unknown: Sequence[str], files: Sequence[Path], sources: dict[str, MaskSource], protocols: Sequence[Protocol]
) -> Problem:
    named = ", ".join(repr(name) for name in unknown[:_LISTED]) + (" and more" if len(unknown) > _LISTED else "")
    message = f"No structure of a protocol is called {named}."
    return Problem("NAME_UNKNOWN", message, _write_remedy(files, sources, protocols))


def _write_remedy(files: Sequence[Path], sources: dict[str, MaskSource], protocols: Sequence[Protocol]) -> str:
    """The mapping as far as names tell it; what resembles nothing is left for the user to name or to leave out."""
    ct = next((path.name for path in _find_called(CT, files)), "NAME OF THE CT")
    structures: dict[str, object] = {}
    for protocol in protocols:
        table = alias_table(protocol)
        guesses = propose_aliases([name for name in sources if fold(name) not in table], protocol)
        for name, source in sources.items():
            meant = table.get(fold(name)) or guesses.get(name)
            if meant is not None:
                structures.setdefault(
                    meant, source.file if source.segment is None else source.model_dump(exclude_none=True)
                )
    document = write_proposal({"ct": ct, "structures": structures}) if structures else _EXAMPLE
    return (
        f"Call the files by their TG-263 names, or write the file {MAPPING_FILE} into the folder and name in it those "
        f"that are meant, e.g. {document}."
    )
