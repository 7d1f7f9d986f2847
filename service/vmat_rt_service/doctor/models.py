"""Protocols and the models that predict for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vmat_rt.bundle import Bundle, find_bundle, list_installed_bundles, load_bundle
from vmat_rt.errors import ConfigError, VmatError
from vmat_rt.protocol import load_protocol, packaged_protocols
from vmat_rt.system.extras import MissingExtraError
from vmat_rt_service.doctor.findings import Finding, fail, ok, warn


def check_protocols(configured: str | None) -> Iterator[Finding]:
    """Every packaged protocol and the site's own can be read."""
    names = [*packaged_protocols(), *([configured] if configured else [])]
    broken = []
    for name in names:
        try:
            load_protocol(name)
        except ConfigError as error:
            broken.append(str(error))
    for text in broken:
        yield fail("protocols", text, "Mend the protocol file, or set `protocol` to a packaged one.")
    if not broken:
        yield ok("protocols", f"{', '.join(names)}" + ("" if configured else "; each study's by its ROI names"))


def check_models(protocol: str | None, model: str | None) -> Iterator[Finding]:
    """Every model's files are those that were packed, and the protocols in use have one."""
    bundles = {bundle.manifest.name: bundle for bundle in list_installed_bundles()}
    if model is not None and model not in bundles:
        chosen = load_bundle(Path(model))
        bundles[chosen.manifest.name] = chosen
    for bundle in bundles.values():
        yield _check_files(bundle)
    if not bundles:
        yield fail("models", "no model is installed", "Install a release with its bundles, or set `model` to a folder.")
        return
    if model is not None:
        try:
            find_bundle("", model)
        except MissingExtraError as error:
            yield fail("models", f"{error.sentence}, not installed: every study is refused", f"Run {error.command}.")
    else:
        yield from _check_protocols(
            [load_protocol(protocol).name] if protocol else [*packaged_protocols()], bool(protocol)
        )


def _check_files(bundle: Bundle) -> Finding:
    manifest = bundle.manifest
    try:
        size = sum(len(bundle.read_bytes(name)) for name in manifest.files)
    except VmatError as error:
        return fail("models", f"{error}.", "Install the release again: never predict with a changed model.")
    served = ", ".join(manifest.protocols)
    return ok("models", f"{manifest.name} {manifest.version} for {served}, {size / 1e6:.1f} MB, hashes match")


def _check_protocols(names: list[str], configured: bool) -> Iterator[Finding]:
    for name in names:
        try:
            yield from (warn("models", f"{name}: {p.message}", p.remedy) for p in find_bundle(name).problems)
        except VmatError:
            detail = f"no model predicts for {name}: such studies are refused"
            remedy = "Set `model` to a bundle for it."
            yield fail("models", detail, remedy) if configured else warn("models", detail, remedy)
