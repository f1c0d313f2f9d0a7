"""The shipped models are those the ladder describes."""

import hashlib

from ecluse.adapters.upstreams.llama_cpp.gguf import read_facts
from ecluse.demonstration.ladder import MODELS_FOLDER, models, rungs, specialist

BYTES_AT_MOST = 8_000_000


def test_files_match_the_ladder() -> None:
    """Hash, size and context of each file are those stated, and its licence is ours."""
    for model in models():
        facts = read_facts(model.path)
        assert hashlib.sha256(model.path.read_bytes()).hexdigest() == model.sha256
        assert facts.parameters == model.parameters
        assert facts.context_tokens == model.context_tokens
        assert (facts.name, facts.licence) == (model.name, "Apache-2.0")


def test_every_file_says_that_it_is_a_demonstration() -> None:
    """Whoever opens one with another program is told, too."""
    for model in models():
        assert b"DEMONSTRATION" in model.path.read_bytes()[:4_096]


def test_only_the_last_rung_has_no_threshold() -> None:
    """Every generalist but the largest needs a rule that accepts its answer."""
    *lower, top = rungs()
    assert [rung.name for rung in rungs()] == ["demo-small", "demo-medium", "demo-large"]
    assert all(rung.accept_least_logprob is not None for rung in lower)
    assert all(rung.accept_least_logprob < 0 for rung in lower if rung.accept_least_logprob)
    assert all(rung.commit_after_tokens is None or rung.commit_after_tokens > 0 for rung in lower)
    assert (top.accept_least_logprob, top.commit_after_tokens) == (None, None)
    assert [r.parameters for r in rungs()] == sorted(r.parameters for r in rungs())


def test_the_specialist_is_no_rung() -> None:
    """It is served by its own name only, and is small."""
    assert specialist() in models()
    assert specialist() not in rungs()
    assert specialist().specialist_in == "multiply"
    assert specialist().parameters < rungs()[-1].parameters / 10


def test_a_token_may_span_letters() -> None:
    """The vocabulary has real merges: the longest token is a word, not a byte."""
    assert {read_facts(model.path).longest_token_bytes for model in models()} == {9}


def test_the_models_are_small_and_have_a_card() -> None:
    """All files together stay under 8 MB; the card has each one's name, size and nature."""
    sizes = {model.name: model.path.stat().st_size for model in models()}
    assert sum(sizes.values()) <= BYTES_AT_MOST
    assert {file.name for file in MODELS_FOLDER.glob("*.gguf")} == {m.file for m in models()}
    card = (MODELS_FOLDER / "MODEL_CARD.md").read_text("utf-8")
    assert "demonstration and nothing else" in card
    for model in models():
        assert f"| {model.name} | {model.parameters:,} | {sizes[model.name]:,} bytes |" in card
