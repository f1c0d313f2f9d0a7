"""What is sent to a deployment for a request. Pure."""

from __future__ import annotations

import msgspec

from ecluse.domain.catalog.deployments import Acceptance, Deployment, Offer
from ecluse.domain.routing.continuation import Resumption, fields_to_continue
from ecluse.domain.values.request import Call, ChatRequest, Fields, spliced

_WITH_USAGE = msgspec.Raw(b'{"include_usage":true}')
_TRUE = msgspec.Raw(b"true")


def call_for(
    request: ChatRequest,
    deployment: Deployment,
    acceptance: Acceptance,
    going_on: Resumption | None = None,
) -> Call:
    """The client's body with the upstream's name for the model, and what we need to know asked
    for: usage in streams, log-probabilities where the stage is judged by them. ``going_on`` says
    where to go on with an answer that broke off.
    """
    replacements: dict[str, object] = {"model": deployment.offer.upstream_model}
    if request.stream and not request.wants_stream_usage:
        replacements["stream_options"] = _asking_for_usage(request.fields)
    if adds_logprobs(request, deployment, acceptance):
        # One alternative a token at most: llama.cpp would send twenty, and we read none.
        replacements |= {"logprobs": _TRUE, "top_logprobs": 1}
    if going_on is not None and deployment.offer.continuation is not None:
        replacements |= fields_to_continue(request, deployment.offer.continuation, going_on)
    return Call(
        deployment.offer.upstream_model,
        spliced(request.fields, replacements),
        request.stream,
        request.texts if going_on is None else (*request.texts, going_on.prefix),
    )


def adds_logprobs(request: ChatRequest, deployment: Deployment, acceptance: Acceptance) -> bool:
    """Whether we ask for log-probabilities that the client did not ask for."""
    if request.wants_logprobs or not acceptance.judges:
        return False
    return may_show_logprobs(request, deployment.offer)


def may_show_logprobs(request: ChatRequest, offer: Offer) -> bool:
    """Whether an answer may come with log-probabilities, as far as we know."""
    in_tool_stream = request.stream and bool(request.format.tools)
    refused = in_tool_stream and offer.logprobs_in_tool_streams is False
    return offer.gives_logprobs is not False and not refused


def _asking_for_usage(fields: Fields) -> object:
    given = fields.get("stream_options")
    if given is None or bytes(given) == b"null":
        return _WITH_USAGE
    options: dict[str, object] = dict(msgspec.json.decode(given, type=dict[str, msgspec.Raw]))
    return options | {"include_usage": True}
