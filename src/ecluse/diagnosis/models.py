"""GGUF files and the demonstration's models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

from ecluse.adapters.upstreams.llama_cpp.gguf import read_facts
from ecluse.config import schema
from ecluse.config.load import Loaded
from ecluse.demonstration import ladder
from ecluse.diagnosis.finding import Finding, Level, listed
from ecluse.domain.errors import ModelFileBroken

GIB = 2**30
MIB = 2**20
BILLION = 1_000_000_000
MILLION = 1_000_000
DEMONSTRATION = "Demonstration"


def files(loaded: Loaded, *, engine_works: bool) -> Iterator[Finding]:
    """Each GGUF file the configuration names."""
    for entry in loaded.configuration.upstreams:
        if isinstance(entry, schema.LlamaCppUpstream):
            for model in entry.models:
                path = loaded.resolve(model.file)
                yield _file(path, model.name, psutil.virtual_memory().available, engine_works)


def _file(path: Path, name: str, memory_bytes: int, engine_works: bool) -> Finding:
    title = f"Model {name}"
    try:
        facts = read_facts(path)
        size = path.stat().st_size
    except (ModelFileBroken, OSError) as error:
        if isinstance(error, ModelFileBroken):
            return Finding.of(error, title)
        return Finding(Level.BROKEN, title, f"{path} cannot be read", "Check its path.")
    context = "context unknown" if facts.context_tokens is None else _context(facts.context_tokens)
    detail = (
        f"{path}: {facts.name or facts.architecture or 'unnamed'}, "
        f"{parameters(facts.parameters)} parameters, {context}, {_size(size)}"
    )
    models = (name,) if engine_works else ()
    if size > memory_bytes:
        return Finding(
            Level.WARNING,
            title,
            f"{detail}; only {_size(memory_bytes)} of memory are available",
            "Choose a smaller or more strongly quantised file, or end other programs.",
            models,
        )
    return Finding(Level.FINE, title, detail, models=models)


def demonstration(configuration: schema.Configuration, *, engine_works: bool) -> Finding:
    """The models that come with Ecluse."""
    title = DEMONSTRATION
    if not configuration.demonstration.enabled:
        return Finding(Level.FINE, title, "switched off ([demonstration] enabled = false)")
    names = tuple(model.name for model in ladder.models())
    missing = [model.file for model in ladder.models() if not model.path.is_file()]
    if missing:
        return Finding(Level.BROKEN, title, f"{listed(missing)}: missing", "Install Ecluse again.")
    if not engine_works:
        return Finding(Level.WARNING, title, "cannot answer without xllamacpp")
    return Finding(Level.FINE, title, f"tiny models: {listed(names)}", models=names)


def parameters(number: int) -> str:
    """A number of parameters as people say it: 7.6 billion, 125 million."""
    if number >= BILLION:
        return f"{number / BILLION:.1f} billion"
    return f"{number / MILLION:.3g} million"


def _context(tokens: int) -> str:
    return f"context {tokens} tokens"


def _size(size_bytes: int) -> str:
    if size_bytes >= GIB:
        return f"{size_bytes / GIB:.1f} GiB"
    return f"{size_bytes / MIB:.1f} MiB"
