"""The configuration file, and what it names that nobody serves."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from ecluse.config.load import Loaded, load
from ecluse.config.paths import FILE_NAME, find_configuration
from ecluse.config.schema import Configuration
from ecluse.diagnosis.finding import Finding, Level, listed
from ecluse.domain.errors import ConfigurationError

TITLE = "Configuration"


def configuration(
    explicit: Path | None, environment: Mapping[str, str], cwd: Path
) -> tuple[Finding, Loaded | None]:
    """Which file is used and whether it is valid; with it the configuration, None if it is not."""
    file = find_configuration(explicit, environment, cwd)
    try:
        loaded = load(file)
    except ConfigurationError as error:
        return Finding.of(error, TITLE), None
    if file is None:
        return Finding(Level.FINE, TITLE, f"no {FILE_NAME} here: the defaults hold"), loaded
    detail = f"{file} is valid, with {contents(loaded.configuration)}"
    return Finding(Level.FINE, TITLE, detail), loaded


def contents(configuration: Configuration) -> str:
    """How much a configuration names: ``1 upstream and 2 routes``."""
    upstreams = _counted(len(configuration.upstreams), "upstream")
    return f"{upstreams} and {_counted(len(configuration.routes), 'route')}"


def routes(configuration: Configuration, models: Collection[str]) -> Iterator[Finding]:
    """Routes with a stage whose model none of ``models`` is."""
    for route in configuration.routes:
        absent = [stage.model for stage in route.stages if stage.model not in models]
        if absent:
            yield Finding(
                Level.WARNING,
                f"Route {route.name}",
                f"nobody serves {listed(absent)} at present",
                f"Start what serves it, or name one of: {listed(models) or 'none found'}.",
            )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
