"""`vmat-rt models`."""

from __future__ import annotations

import textwrap
from typing import Any

import click

from vmat_rt.commands.common import SCHEMA_VERSION, guard, json_option, print_json, say


def _list_documents() -> dict[str, Any]:
    from vmat_rt.bundle import can_run_here, list_installed_bundles
    from vmat_rt.system.extras import missing

    models = []
    for bundle in list_installed_bundles():
        m = bundle.manifest
        models.append(
            {
                "name": m.name,
                "version": m.version,
                "kind": m.kind,
                "protocol": m.protocol,
                "also": list(m.also),
                "default": m.default,
                "missing": [] if can_run_here(bundle) else list(missing("network")),
                "sha256": bundle.identity.sha256,
                "training": m.training.model_dump(mode="json"),
                "learned": None if m.learned is None else m.learned.model_dump(mode="json"),
                "range": [] if m.learned is None else list(m.learned.sentences()),
                "limits": list(m.limits),
            }
        )
    return {"schema_version": SCHEMA_VERSION, "models": models}


def _format_model(model: dict[str, Any]) -> str:
    from vmat_rt.system.extras import format_pip_line, join_names

    training = model["training"]
    protocols = ", ".join([model["protocol"], *model["also"]])
    lines = [
        f"{model['name']} {model['version']} ({model['kind']}) for protocol{'s' if model['also'] else ''} {protocols}"
        + (", default" if model["default"] else ""),
        *(
            [f"  cannot run here without {join_names(model['missing'])}: {format_pip_line('network')}"]
            if model["missing"]
            else []
        ),
        f"  trained on {training['cases']} cases: {training['data']}",
        f"  licence of the data: {training['licence']}",
        *(f"  {name}: {value:g}" for name, value in training["metrics"].items()),
        "  learned:" if model["range"] else "  learned: unknown, the bundle does not say",
        *(f"  - {sentence}" for sentence in model["range"]),
        "  limits:",
        *(textwrap.fill(limit, 100, initial_indent="  - ", subsequent_indent="    ") for limit in model["limits"]),
    ]
    return "\n".join(lines)


@click.command(epilog="Example: vmat-rt models --json")
@json_option
@guard
def command(as_json: bool) -> None:
    """List the installed models, what they were trained on and their limits."""
    document = _list_documents()
    if as_json:
        print_json(document)
    else:
        say("\n\n".join(_format_model(model) for model in document["models"]) or "No model is installed.")
