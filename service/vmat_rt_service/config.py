"""What a site configures: one YAML file; unknown keys are refused. service/config.example.yaml explains every key."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from vmat_rt.errors import ConfigError
from vmat_rt.strict import Strict, checked, load_mapping, read_text, reason

STATE_FOLDER = ".vmat-rt"
"""The state folder below an outbox, unless the configuration names another."""

EFFECTIVE = "service.json"
"""The configuration that a service runs with, kept in its state folder for `jobs`, `replay` and `audit`."""

Percent = float
Kind = Literal["rtdose", "rtplan", "isodose"]


class WebConfig(Strict):
    """The status page. A token is required off loopback."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = Field(8765, ge=0, le=65535)
    token: str | None = None
    proxies: tuple[str, ...] = ()
    max_upload_mb: int = Field(2048, ge=0)


class TlsConfig(Strict):
    """Certificate files of the DICOM node; ca given means that callers must show a certificate it signed."""

    certificate: Path
    key: Path
    ca: Path | None = None


class ListenConfig(Strict):
    """The DICOM node that stores into the inbox. Empty lists of callers or hosts allow all, which only loopback may."""

    port: int = Field(11112, ge=0, le=65535)
    host: str = "127.0.0.1"
    ae_title: str = Field("VMATRT", min_length=1, max_length=16)
    allowed_callers: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    max_associations: int = Field(10, gt=0)
    max_associations_per_host: int = Field(5, gt=0)
    max_object_mb: int = Field(512, gt=0)
    tls: TlsConfig | None = None


class DestinationTls(Strict):
    """How a destination is known: by a certificate that `ca` signed (absent: the system's). certificate, key: ours."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class Destination(Strict):
    """A DICOM node that results are sent to."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")
    host: str
    port: int = Field(gt=0, le=65535)
    ae_title: str = Field(min_length=1, max_length=16)
    send: tuple[Kind, ...] = ("rtdose",)
    tls: DestinationTls | None = None


class ServiceConfig(Strict):
    """Everything that the service needs to know; folders are absolute."""

    inbox: Path
    outbox: Path
    state: Path
    workers: int = Field(1, ge=1, le=64)
    device: str = "auto"
    protocol: str | None = None
    model: str | None = None
    allow_outside: bool = False
    scan_seconds: float = Field(5.0, gt=0)
    polling: Literal["auto", "always", "never"] = "auto"
    stable_seconds: float = Field(3.0, ge=0)
    patience_minutes: float = Field(60.0, ge=0)
    intake_attempts: int = Field(5, ge=1)
    accept_deidentified: bool = False
    max_attempts: int = Field(3, ge=1)
    job_timeout_seconds: float = Field(600.0, gt=0)
    job_memory_gb: float = Field(8.0, gt=0)
    min_free_gb: float = Field(1.0, ge=0)
    worker_idle_seconds: float = Field(60.0, ge=0)
    after_success: Literal["keep", "archive", "delete"] = "keep"
    archive: Path | None = None
    isodose_percent: tuple[Percent, ...] = ()
    identify: bool = False
    web: WebConfig = Field(default_factory=lambda: WebConfig.model_validate({}))
    listen: ListenConfig | None = None
    destinations: tuple[Destination, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> ServiceConfig:
        if self.after_success == "archive" and self.archive is None:
            raise ValueError("after_success: archive needs `archive`, the folder to move inputs to")
        _require_apart(self.folders)
        if len({destination.name for destination in self.destinations}) < len(self.destinations):
            raise ValueError("two destinations share a name")
        return self

    @property
    def folders(self) -> dict[str, Path]:
        """The folders by the names of their keys; archive only where there is one."""
        archive = {} if self.archive is None else {"archive": self.archive}
        return {"inbox": self.inbox, "outbox": self.outbox, "state": self.state, **archive}

    @property
    def journal(self) -> Path:
        return self.state / "journal.sqlite"

    @property
    def staging(self) -> Path:
        return self.state / "staging"

    @property
    def audit(self) -> Path:
        return self.state / "audit.jsonl"

    @property
    def settle_seconds(self) -> float:
        """How long what looks complete or damaged, but could still change, is given before it is believed."""
        return 5 * self.stable_seconds

    def write_command(self, *words: str | int) -> str:
        """A command of ours about this service, as a shell of this machine takes it."""
        return shlex.join(["vmat-rt", *map(str, words), "--state", str(self.state)])

    def sha256(self) -> str:
        """Identity of the configuration, for the audit log."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    def save(self) -> None:
        """Keep the effective configuration in the state folder, readable by its owner only."""
        path = self.state / EFFECTIVE
        temporary = path.with_suffix(".tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(self.model_dump_json(indent=2))
        temporary.replace(path)


def _require_apart(folders: dict[str, Path]) -> None:
    """No folder is another or lies in one, so that nothing is taken for input, result or rubbish that is not.

    Raises ValueError. The state's place below the outbox is its default: it is hidden there.
    """
    for name, folder in folders.items():
        for other, above in folders.items():
            if name == other or not (folder == above or above in folder.parents):
                continue
            hidden = folder.name.startswith(".") and folder.parent == above
            if (name, other) == ("state", "outbox") and hidden:
                continue
            raise ValueError(f"{name} must not be {other} or lie in it: give folders beside each other")


def load_config(path: Path | None, **overrides: Any) -> ServiceConfig:
    """The configuration of a YAML file, with overrides (None: not given). Relative folders are below the file's.

    Raises ConfigError, naming every wrong key.
    """
    values = {} if path is None else load_mapping(read_text(path, str(path)), str(path))
    base = path.resolve().parent if path is not None else Path.cwd()
    for name in ("listen", "web"):
        given = {key: value for key, value in (overrides.pop(name, None) or {}).items() if value is not None}
        written = values.get(name) or {}
        if given and isinstance(written, dict):
            overrides[name] = {**written, **given}
    values.update({key: value for key, value in overrides.items() if value is not None})
    for key in ("inbox", "outbox", "state", "archive"):
        if isinstance(values.get(key), str | os.PathLike):
            root = Path.cwd() if overrides.get(key) is not None else base
            values[key] = (root / os.fsdecode(values[key])).resolve()
    destinations = values.get("destinations")
    for node in (values.get("listen"), *(destinations if isinstance(destinations, list) else ())):
        _anchor_certificates(node, base)
    if isinstance(values.get("outbox"), Path):
        values.setdefault("state", values["outbox"] / STATE_FOLDER)
    return checked(ServiceConfig, values, "service configuration" if path is None else f"service configuration {path}")


def _anchor_certificates(node: Any, base: Path) -> None:
    """Relative certificate files of a node are below the configuration's folder too."""
    tls = node.get("tls") if isinstance(node, dict) else None
    if isinstance(tls, dict):
        tls.update({key: base / value for key, value in tls.items() if isinstance(value, str)})


def read_saved_config(state: Path) -> ServiceConfig:
    """The configuration that the service of this state folder last ran with. Raises ConfigError when there is none."""
    for folder in (state, state / STATE_FOLDER):
        if (folder / EFFECTIVE).is_file():
            return _read_saved(folder / EFFECTIVE)
    raise ConfigError(f"{state} is not the state folder of a service: it has no {EFFECTIVE}")


def _read_saved(path: Path) -> ServiceConfig:
    try:
        return ServiceConfig.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        message = f"{path} is damaged ({reason(error)}); start the service with its configuration to write it again"
        raise ConfigError(message) from error
