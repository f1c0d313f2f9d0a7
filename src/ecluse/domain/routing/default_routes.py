"""The routes there are when nobody wrote any. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ecluse.domain.catalog.deployments import Deployment, Route, Stage

AUTO = "auto"
DEMO = "demo"


def routes(
    configured: Iterable[Route],
    demonstration: Sequence[Stage],
    deployments: Mapping[str, Sequence[Deployment]],
) -> dict[str, Route]:
    """The configured routes, ``demo`` while its models are there, and ``auto``.

    Unless configured, ``auto`` is the best constant that can be told without evidence: the model
    with the most parameters among those that answer, the first one where sizes are unknown. Only
    while nothing else is there does it rise through the demonstration models.
    """
    found = {route.name: route for route in configured}
    if demonstration and all(stage.model in deployments for stage in demonstration):
        found.setdefault(DEMO, Route(DEMO, tuple(demonstration)))
    real = [
        model
        for model, places in deployments.items()
        if not any(place.demonstration for place in places)
    ]
    if real:
        best = max(real, key=lambda model: _worth(deployments[model]))
        found.setdefault(AUTO, Route(AUTO, (Stage(best),)))
    elif DEMO in found:
        found.setdefault(AUTO, Route(AUTO, found[DEMO].stages))
    return found


def _worth(places: Sequence[Deployment]) -> tuple[bool, int]:
    """By what models are compared: whether one of its places answers, then its size."""
    parameters = max((place.offer.parameters or 0 for place in places), default=0)
    return any(place.alive for place in places), parameters
