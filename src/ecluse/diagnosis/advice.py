"""What is doubtful in a valid configuration, told without asking anybody."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping

from ecluse.adapters.upstreams.llama_cpp.gguf import read_facts
from ecluse.config import schema
from ecluse.config.check import models_of
from ecluse.config.load import Loaded
from ecluse.demonstration import ladder
from ecluse.domain.catalog.suppliers import SUPPLIERS
from ecluse.domain.routing.default_routes import AUTO, DEMO


def warnings(configuration: schema.Configuration) -> Iterator[str]:
    """A sentence for each thing that starts and may yet not answer."""
    yield from _suppliers(configuration)
    yield from _stages(configuration)


def check_files(loaded: Loaded) -> None:
    """Look at the model files that are named. Raises ModelFileBroken, as a start would."""
    for entry in loaded.configuration.upstreams:
        if isinstance(entry, schema.LlamaCppUpstream):
            for model in entry.models:
                read_facts(loaded.resolve(model.file))


def about_route(name: str, configuration: schema.Configuration) -> str | None:
    """What to tell whoever names a route or model that is not configured; None where it is."""
    names = [*_models(configuration), *(route.name for route in configuration.routes), AUTO]
    if configuration.demonstration.enabled:
        names.append(DEMO)
    if name in names:
        return None
    return f'No route or model is called "{name}" in the configuration.{_hint(name, names)}'


def unset_keys(
    configuration: schema.Configuration, environment: Mapping[str, str]
) -> Iterator[str]:
    """A sentence for each upstream whose key is not in this environment."""
    for entry in configuration.upstreams:
        variable = entry.key_env if isinstance(entry, schema.HttpUpstream) else None
        if variable and not environment.get(variable, "").strip():
            # Its name is not repeated: it may be a key that somebody wrote there instead.
            yield (
                f"Upstream {entry.name}: the environment variable which its key_env names is "
                "not set here; without it Ecluse does not start."
            )


def _suppliers(configuration: schema.Configuration) -> Iterator[str]:
    known = [supplier.name for supplier in SUPPLIERS]
    for name in configuration.discovery.paid:
        if name not in known:
            hint = _hint(name, known) or f" Known are {', '.join(known)}."
            yield f'[discovery] paid: no supplier is called "{name}".{hint}'


def _stages(configuration: schema.Configuration) -> Iterator[str]:
    models = _models(configuration)
    for route in configuration.routes:
        for stage in route.stages:
            hint = _hint(stage.model, models)
            if stage.model not in models and (hint or not _may_have_more(configuration)):
                yield (
                    f"Route {route.name}: no upstream of the configuration has the model "
                    f'"{stage.model}"; only one that is found by itself could.{hint}'
                )


def _models(configuration: schema.Configuration) -> list[str]:
    """The models that the configuration knows of."""
    names = [name for entry in configuration.upstreams for _, name in models_of(entry)]
    if configuration.demonstration.enabled:
        names += [rung.name for rung in ladder.rungs()]
    return names


def _may_have_more(configuration: schema.Configuration) -> bool:
    """Whether an upstream is asked what it serves, which the file cannot tell."""
    return any(
        isinstance(entry, schema.HttpUpstream) and not entry.models
        for entry in configuration.upstreams
    )


def _hint(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f' Did you mean "{near[0]}"?' if near else ""
