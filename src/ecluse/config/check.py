"""What no single key can show: duplicates, collisions, addresses, unreachable stages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from ipaddress import ip_network
from urllib.parse import urlsplit

from ecluse.config.faults import Fault, dotted
from ecluse.config.locate import KeyPath
from ecluse.config.prices import nano_per_million
from ecluse.config.schema import (
    Configuration,
    GgufEntry,
    HttpUpstream,
    LlamaCppUpstream,
    ModelEntry,
    Price,
    RouteEntry,
    ScriptedUpstream,
    UpstreamEntry,
)

Names = Iterable[tuple[KeyPath, str]]


def faults(configuration: Configuration) -> Iterator[Fault]:
    """Everything wrong with a configuration whose types are right."""
    yield from _proxies(configuration)
    yield from _duplicates(
        ((("upstreams", at, "name"), entry.name) for at, entry in _upstreams(configuration)),
        'another upstream is called "{}"',
    )
    for at, upstream in _upstreams(configuration):
        yield from _duplicates(
            models_of(upstream, at), 'the upstream has another model called "{}"'
        )
        if isinstance(upstream, HttpUpstream):
            yield from _address(upstream.url, ("upstreams", at, "url"))
        if not isinstance(upstream, ScriptedUpstream):
            for place, price in _prices(upstream, at):
                yield from _amounts(price, place)
    yield from _routes(configuration)


def models_of(upstream: UpstreamEntry, at: int = 0) -> Iterator[tuple[KeyPath, str]]:
    """The names under which clients know an upstream's models, as far as the file tells them.

    With each comes where it stands, if the upstream is number ``at`` of the file.
    """
    match upstream:
        case ScriptedUpstream(model=model):
            yield ("upstreams", at, "model"), model
        case HttpUpstream(models=models):
            names = [model.name for model in models]
            yield from _numbered(names, at)
        case LlamaCppUpstream(models=files):
            names = [file.name for file in files]
            yield from _numbered(names, at)


def _numbered(names: Iterable[str], at: int) -> Iterator[tuple[KeyPath, str]]:
    for number, name in enumerate(names):
        yield ("upstreams", at, "models", number, "name"), name


def _upstreams(configuration: Configuration) -> Iterator[tuple[int, UpstreamEntry]]:
    return iter(enumerate(configuration.upstreams))


def _fault(path: KeyPath, words: str, next_step: str = "", twin: KeyPath | None = None) -> Fault:
    return Fault(path, f"{dotted(path)}: {words}", next_step, twin)


def _duplicates(names: Names, words: str) -> Iterator[Fault]:
    """``words`` says what collides; the line of the first is added to it later."""
    first: dict[str, KeyPath] = {}
    for path, name in names:
        if name in first:
            yield _fault(path, words.format(name), "Give each its own name.", first[name])
        first.setdefault(name, path)


def _proxies(configuration: Configuration) -> Iterator[Fault]:
    for number, address in enumerate(configuration.server.trusted_proxies):
        if not _succeeds(lambda text: ip_network(text, strict=False), address):
            yield _fault(
                ("server", "trusted_proxies", number),
                'expected an address or a network such as "127.0.0.1" or "10.0.0.0/8"',
            )


def _address(url: str, path: KeyPath) -> Iterator[Fault]:
    if not _succeeds(lambda text: urlsplit(text).port, url):
        yield _fault(path, "expected an address such as http://127.0.0.1:8080/v1")
        return
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        yield _fault(path, "expected an address which begins with http:// or https://")
    elif parts.username is not None or parts.password is not None:
        yield _fault(
            path,
            "a name or password in the address would be a key in the file",
            "Put it into an environment variable and name that in key_env.",
        )


def _prices(upstream: HttpUpstream | LlamaCppUpstream, at: int) -> Iterator[tuple[KeyPath, Price]]:
    models: tuple[ModelEntry | GgufEntry, ...] = upstream.models
    for number, entry in enumerate(models):
        if entry.price is not None:
            yield ("upstreams", at, "models", number, "price"), entry.price


def _amounts(price: Price, path: KeyPath) -> Iterator[Fault]:
    for name in ("prompt_per_million", "completion_per_million", "cached_per_million"):
        amount: Decimal | None = getattr(price, name)
        try:
            if amount is not None:
                nano_per_million(amount)
        except ValueError as error:
            yield _fault((*path, name), str(error))


def _routes(configuration: Configuration) -> Iterator[Fault]:
    places: list[tuple[KeyPath, str]] = [
        (("routes", number, "name"), route.name)
        for number, route in enumerate(configuration.routes)
    ]
    yield from _duplicates(places, 'another route is called "{}"')
    models: dict[str, KeyPath] = {}
    for at, upstream in _upstreams(configuration):
        for place, name in models_of(upstream, at):
            models.setdefault(name, place)
    for path, name in places:
        if name in models:
            words = f'a model is called "{name}" too'
            yield _fault(path, words, "Rename one of them.", models[name])
    for number, route in enumerate(configuration.routes):
        yield from _unreachable(route, ("routes", number, "stages"))


def _unreachable(route: RouteEntry, path: KeyPath) -> Iterator[Fault]:
    for step, stage in enumerate(route.stages[:-1]):
        if stage.accept_least_logprob is None:
            yield _fault(
                (*path, step),
                "every answer of this stage is accepted, so those after it are never reached",
                "Give it accept_least_logprob, or make it the last.",
            )


def _succeeds(read: Callable[[str], object], text: str) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True
