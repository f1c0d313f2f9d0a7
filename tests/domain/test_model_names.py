"""What a server may call itself in an answer."""

from __future__ import annotations

import pytest

from ecluse.domain.catalog.model_names import is_same_model


@pytest.mark.parametrize(
    ("asked", "told", "same"),
    [
        ("gpt-4o", "gpt-4o", True),
        ("gpt-4o", "gpt-4o-2024-08-06", True),
        ("qwen3:4b", "Qwen3:4b", True),
        ("llama", "/models/llama-3.gguf", True),
        ("org/model", "model", True),
        ("large", "small", False),
        ("gpt-4o", "gpt-3.5-turbo", False),
    ],
)
def test_names_of_one_model(asked: str, told: str, same: bool) -> None:
    """Versions, tags and paths are the same model; another name is another one."""
    assert is_same_model(asked, told) is same
