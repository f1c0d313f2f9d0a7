"""When an answer is good enough, and what to do when it breaks off. Pure.

The evidence is the least token log-probability of the answer so far: the token the model was
least sure of. It can only fall, so a rise is decided as soon as it is below the threshold. An
answer that is whole must also have the form that was asked for.
"""

from __future__ import annotations

import math
from enum import Enum

import msgspec

from ecluse.domain.catalog.deployments import Acceptance
from ecluse.domain.values.answer import Events


class Verdict(Enum):
    """What to do with the events held so far, or after an attempt that failed."""

    HOLD = "hold"
    """Not enough evidence yet: keep them back."""
    COMMIT = "commit"
    """Good enough: they and all that follow are the client's."""
    RISE = "rise"
    """Not good enough: drop them and ask the next stage."""
    RESTART = "restart"
    """It failed before anything was told: ask another deployment from the beginning."""
    CONTINUE = "continue"
    """It failed in the middle of the answer: have another deployment go on from there."""
    FAIL = "fail"
    """It failed, and nothing can hide that from the client."""


HELD_BYTES_AT_MOST = 4 * 1024 * 1024
"""An answer that grows beyond this while it is held is not waited for: memory is bounded."""


class Evidence(msgspec.Struct, frozen=True):
    """What an answer has shown so far.

    ``least_logprob`` None means no token showed one; ``tokens`` counts those that did;
    ``unproven`` says that there was content without any. ``cut_off`` says that the model stopped
    at a limit, or was stopped by a filter.
    """

    least_logprob: float | None = None
    tokens: int = 0
    unproven: bool = False
    cut_off: bool = False
    bytes_seen: int = 0

    def with_events(self, events: Events) -> Evidence:
        """The evidence after more events."""
        least, tokens, unproven = self.least_logprob, self.tokens, self.unproven
        cut_off, bytes_seen = self.cut_off, self.bytes_seen
        for event in events:
            bytes_seen += len(event.raw)
            for piece in event.choices:
                logprob = piece.least_logprob
                if logprob is not None:
                    tokens += piece.tokens
                    if logprob != logprob:
                        logprob = -math.inf  # NaN compares with nothing, and proves nothing
                    if least is None or logprob < least:
                        least = logprob
                elif piece.content:
                    unproven = True
                if piece.finish_reason in CUT_OFF:
                    cut_off = True
        return Evidence(least, tokens, unproven, cut_off, bytes_seen)


CUT_OFF = frozenset({"length", "content_filter"})


def consider(acceptance: Acceptance, evidence: Evidence, *, may_commit_early: bool) -> Verdict:
    """Decide about a stage's answer while it is coming."""
    threshold = acceptance.least_logprob
    if threshold is None:
        return Verdict.COMMIT
    if _is_below(evidence.least_logprob, threshold) or evidence.bytes_seen > HELD_BYTES_AT_MOST:
        return Verdict.RISE
    enough = acceptance.commit_after_tokens
    if may_commit_early and enough is not None and enough <= evidence.tokens:
        return Verdict.HOLD if evidence.unproven else Verdict.COMMIT
    return Verdict.HOLD


def conclude(
    acceptance: Acceptance, evidence: Evidence, *, well_formed: bool, limited: bool
) -> Verdict:
    """Decide about a stage's whole answer.

    ``well_formed`` says that it has the form the request asked for, ``limited`` that the client
    itself set a limit to its length: then stopping there is nothing against it.
    """
    threshold = acceptance.least_logprob
    if threshold is None:
        return Verdict.COMMIT
    if not well_formed or (evidence.cut_off and not limited):
        return Verdict.RISE
    if _is_below(evidence.least_logprob, threshold):
        return Verdict.RISE
    if evidence.unproven or evidence.least_logprob is None:
        return Verdict.COMMIT if acceptance.without_logprobs == "accept" else Verdict.RISE
    return Verdict.COMMIT


def after_failure(*, told: bool, can_continue: bool, another_may_do: bool) -> Verdict:
    """Decide after an attempt failed.

    ``told`` says that the client has a part of the answer, ``can_continue`` that it has come to a
    point where another deployment can go on; ``another_may_do`` is about the failure: a request
    that is refused for what it is will be refused everywhere.
    """
    if not another_may_do:
        return Verdict.FAIL
    if not told:
        return Verdict.RESTART
    return Verdict.CONTINUE if can_continue else Verdict.FAIL


def _is_below(least: float | None, threshold: float) -> bool:
    return least is not None and not least >= threshold  # so that NaN is below everything
