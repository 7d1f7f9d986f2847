"""Place: a folder on a disk, or a prefix of an object store that fsspec reaches by URL. The same few acts for both."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import fsspec
from fsspec.implementations.local import LocalFileSystem
from zarr.abc.store import Store
from zarr.storage import FsspecStore, LocalStore

from vmat_rt.errors import ConfigError
from vmat_rt.system.publish import flush, published_folder

_LOCK: Final = ".lock"


@dataclass(frozen=True)
class Place:
    """root is a path on a local disk, or the URL without a slash at its end."""

    fs: Any
    root: str
    is_local: bool

    @staticmethod
    def at(uri: str | Path) -> Place:
        """The place that a path or URL names; it need not exist. Raises ConfigError when nothing opens such URLs."""
        try:
            fs, path = fsspec.core.url_to_fs(str(uri))
        except (ValueError, ImportError) as error:
            raise ConfigError(f"{uri} cannot be opened: {error}") from error
        if isinstance(fs, LocalFileSystem):
            return Place(fs, path, is_local=True)
        return Place(fs, str(uri).rstrip("/"), is_local=False)

    @property
    def _folder(self) -> Path:
        return Path(self.root)

    def child(self, name: str) -> Place:
        return Place(self.fs, f"{self.root}/{name}", self.is_local)

    def exists(self, name: str) -> bool:
        return bool(self.fs.exists(f"{self.root}/{name}"))

    def read_bytes(self, name: str) -> bytes:
        """Raises FileNotFoundError when there is none."""
        content: bytes = self.fs.cat_file(f"{self.root}/{name}")
        return content

    def write_bytes(self, name: str, content: bytes) -> None:
        """Readers see the old content or the new one, never a part."""
        if not self.is_local:
            self.fs.pipe_file(f"{self.root}/{name}", content)
            return
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
        flush(path.parent)

    def find_folders_with(self, name: str) -> tuple[str, ...]:
        """Names of the folders right below that hold a file `name`, sorted; hidden ones (being written) left out."""
        if self.is_local:
            names = [path.parent.name for path in self._folder.glob(f"*/{name}")]
        else:
            self.fs.invalidate_cache()
            names = [path.rsplit("/", 2)[-2] for path in self.fs.glob(f"{self.root}/*/{name}")]
        return tuple(sorted(folder for folder in names if not folder.startswith(".")))

    @contextlib.contextmanager
    def published(self, name: str, mark: str, replace: bool) -> Iterator[Place]:
        """Yield where to write the folder `name`; the file `mark` has to be written last.

        On a disk the folder appears by one rename, and of several writers one succeeds. An object store knows no
        rename: what has no mark does not count, and of several writers of one name the last one's objects stand.
        Raises FileExistsError when there is one already that is not to be replaced; a failure leaves nothing.
        """
        if self.is_local:
            with published_folder(self._folder / name, replace) as temporary:
                yield Place(self.fs, str(temporary), is_local=True)
            return
        place = self.child(name)
        if place.exists(mark):
            if not replace:
                raise FileExistsError(f"{name} is there already")
            self.fs.rm_file(f"{place.root}/{mark}")
        place._clear()
        try:
            yield place
        except BaseException:
            place._clear()
            raise

    def _clear(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm(self.root, recursive=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One process of this machine at a time, on a disk. Object stores have no locks: there, let one do it."""
        if not self.is_local:
            yield
            return
        with (self._folder / _LOCK).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def store(self, read_only: bool) -> Store:
        """What zarr reads and writes through."""
        if self.is_local:
            return LocalStore(self.root, read_only=read_only)
        return FsspecStore.from_url(self.root, read_only=read_only)
