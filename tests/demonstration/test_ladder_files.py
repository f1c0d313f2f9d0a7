"""The shipped models are those the ladder describes."""

import hashlib

from ecluse.adapters.upstreams.llama_cpp.gguf import read_facts
from ecluse.demonstration.ladder import MODELS_FOLDER, rungs

MEGABYTE = 1_000_000


def test_files_match_the_ladder() -> None:
    """Hash, size and context of each file are those stated, and its licence is ours."""
    for rung in rungs():
        facts = read_facts(rung.path)
        assert hashlib.sha256(rung.path.read_bytes()).hexdigest() == rung.sha256
        assert facts.parameters == rung.parameters
        assert facts.context_tokens == rung.context_tokens
        assert (facts.name, facts.licence) == (rung.name, "Apache-2.0")


def test_only_the_last_rung_has_no_threshold() -> None:
    """Every model but the largest needs a rule that accepts its answer."""
    *lower, top = rungs()
    assert all(rung.accept_least_logprob is not None for rung in lower)
    assert top.accept_least_logprob is None
    assert [r.parameters for r in rungs()] == sorted(r.parameters for r in rungs())


def test_the_models_are_small_and_have_a_card() -> None:
    """All models together stay under a megabyte, and the card names each."""
    assert sum(rung.path.stat().st_size for rung in rungs()) < MEGABYTE
    card = (MODELS_FOLDER / "MODEL_CARD.md").read_text("utf-8")
    assert all(rung.name in card for rung in rungs())
