"""What is sent to a deployment for a request. Pure."""

from __future__ import annotations

import msgspec

from ecluse.domain.catalog.deployments import Acceptance, Deployment
from ecluse.domain.values.request import Call, ChatRequest, Fields, spliced

_WITH_USAGE = msgspec.Raw(b'{"include_usage":true}')
_TRUE = msgspec.Raw(b"true")


def call_for(request: ChatRequest, deployment: Deployment, acceptance: Acceptance) -> Call:
    """The client's body with the upstream's name for the model, and what we need to know asked
    for: usage in streams, log-probabilities where the stage is judged by them.
    """
    replacements: dict[str, object] = {"model": deployment.offer.upstream_model}
    if request.stream and not request.wants_stream_usage:
        replacements["stream_options"] = _asking_for_usage(request.fields)
    if adds_logprobs(request, acceptance):
        # One alternative a token at most: llama.cpp would send twenty, and we read none.
        replacements |= {"logprobs": _TRUE, "top_logprobs": 1}
    return Call(
        deployment.offer.upstream_model,
        spliced(request.fields, replacements),
        request.stream,
        request.texts,
    )


def adds_logprobs(request: ChatRequest, acceptance: Acceptance) -> bool:
    """Whether we ask for log-probabilities that the client did not ask for."""
    return acceptance.least_logprob is not None and not request.wants_logprobs


def _asking_for_usage(fields: Fields) -> object:
    given = fields.get("stream_options")
    if given is None or bytes(given) == b"null":
        return _WITH_USAGE
    options: dict[str, object] = dict(msgspec.json.decode(given, type=dict[str, msgspec.Raw]))
    return options | {"include_usage": True}
