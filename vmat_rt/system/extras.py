"""What `pip install vmat-rt` leaves out, and the sentence with the line that brings it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from vmat_rt.errors import ConfigError

EXTRAS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "network": ("torch", "safetensors"),
        "cohort": ("zarr", "fsspec", "tqdm"),
        "train": ("torch", "safetensors", "zarr", "fsspec", "tqdm", "lightning_fabric", "tensorboard", "lightgbm"),
        "service": ("watchdog", "pynetdicom", "prometheus_client"),
        "pdf": ("fpdf",),
        "cluster": ("distributed", "dask", "zarr", "fsspec", "tqdm"),
    }
)
"""Packages as they are imported, by the extra of pyproject.toml that installs them; the smallest extra first."""


class MissingExtraError(ConfigError):
    """Packages of an extra are not installed."""

    def __init__(self, missing: tuple[str, ...], extra: str, what: str = "This") -> None:
        self.missing, self.extra, self.what = missing, extra, what
        super().__init__(f"{self.sentence}: {self.command}")

    @property
    def sentence(self) -> str:
        """What is missing, without a full stop."""
        return f"{self.what} needs {join_names(self.missing)}"

    @property
    def command(self) -> str:
        """The line that installs it."""
        return format_pip_line(self.extra)

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[tuple[str, ...], str, str]]:
        """Whole through pickle, for worker processes."""
        return type(self), (self.missing, self.extra, self.what)


def join_names(packages: tuple[str, ...]) -> str:
    """Their names as pip knows them: "torch, safetensors and zarr"."""
    names = [package.replace("_", "-") for package in packages]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def format_pip_line(extra: str) -> str:
    return f"pip install 'vmat-rt[{extra}]'"


def missing(extra: str) -> tuple[str, ...]:
    """Packages of the extra that are not installed; nothing is imported."""
    return tuple(package for package in EXTRAS[extra] if not _is_installed(package))


def require(*extras: str, what: str = "This") -> None:
    """Raise MissingExtraError for the first extra of which something is not installed. `what` begins the sentence."""
    for extra in extras:
        if absent := missing(extra):
            raise MissingExtraError(absent, extra, what)


def as_missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """What to say of a failed import, or None when the package belongs to no extra."""
    package = (error.name or "").partition(".")[0]
    return next((MissingExtraError((package,), name) for name, needs in EXTRAS.items() if package in needs), None)


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # it was put into sys.modules by hand, without a spec
        return True
