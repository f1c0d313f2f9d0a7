"""The fleet's members, and the deployments that each of them gives. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from ecluse.domain.catalog.deployments import Deployment, Offer, Patience
from ecluse.domain.values.money import PriceTerms
from ecluse.ports import Upstream


class Named(msgspec.Struct, frozen=True):
    """What the configuration says of one model of an upstream: our name for it, and its price.

    ``facts`` stand over what the upstream says of ``facts.upstream_model``.
    """

    model: str
    facts: Offer
    price: PriceTerms | None = None


class Member(msgspec.Struct, frozen=True):
    """An upstream of the fleet; ``name`` is unique, ``place`` is what people are shown.

    ``models`` are all that clients may use of it, also where it does not list them; without any
    it is everything it lists. Members of two generations with the same ``origin``, unless that is
    None, are one and the same.
    """

    name: str
    upstream: Upstream
    place: str = ""
    models: Sequence[Named] = ()
    demonstration: bool = False
    origin: object = None
    patience: Patience = Patience()


class Said(msgspec.Struct, frozen=True):
    """What a member last listed, and whether it answered when it was asked last."""

    offers: Sequence[Offer] = ()
    alive: bool = False


def deployments(member: Member, said: Said) -> Iterator[Deployment]:
    """What can be asked of a member."""
    place = member.place or member.name
    for model in _models(member, said.offers):
        yield Deployment(
            name=f"{place}/{model.model}",
            model=model.model,
            upstream=member.name,
            place=place,
            offer=model.facts,
            price=model.price,
            demonstration=member.demonstration,
            alive=said.alive,
            patience=member.patience,
        )


def _models(member: Member, offers: Sequence[Offer]) -> Iterator[Named]:
    if not member.models:
        yield from (Named(offer.upstream_model, offer) for offer in offers)
        return
    listed = {offer.upstream_model: offer for offer in offers}
    for named in member.models:
        offer = listed.get(named.facts.upstream_model, named.facts)
        yield msgspec.structs.replace(named, facts=offer.overlaid(named.facts))
