"""Builds the fleet of a configuration: its members, its routes, and how to find more."""

from __future__ import annotations

from ecluse.app.discovering import Discovering
from ecluse.app.members import MemberBuilder
from ecluse.config.load import Loaded
from ecluse.config.schema import RouteEntry, StageEntry
from ecluse.demonstration import ladder
from ecluse.domain.catalog.deployments import Acceptance, Route, Stage
from ecluse.runtime.fleet import FleetKeeper


def build_fleet(loaded: Loaded, builder: MemberBuilder, discovering: Discovering) -> FleetKeeper:
    """The fleet of a configuration, not yet looked at. Raises StartError."""
    configuration = loaded.configuration
    members = [*builder.configured(loaded), *discovering.paid(configuration)]
    stages: list[Stage] = []
    if configuration.demonstration.enabled:
        members += builder.demonstration()
        stages = [
            Stage(rung.name, Acceptance(rung.accept_least_logprob, rung.commit_after_tokens))
            for rung in ladder.rungs()
        ]
    return FleetKeeper(
        members,
        discovering.search(configuration),
        [_route(entry) for entry in configuration.routes],
        stages,
    )


def _route(entry: RouteEntry) -> Route:
    return Route(
        entry.name,
        tuple(Stage(stage.model, _acceptance(stage)) for stage in entry.stages),
    )


def _acceptance(entry: StageEntry) -> Acceptance:
    return Acceptance(entry.accept_least_logprob, entry.commit_after_tokens, entry.without_logprobs)
