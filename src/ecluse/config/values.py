"""What single values of ``ecluse.toml`` may be: names, times, counts, and the words for them."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

UPSTREAM_NAME_PATTERN = r"^[A-Za-z0-9._-]+\Z"
MODEL_NAME_PATTERN = r"^[^\s\x00-\x1f\x7f]+\Z"
VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*\Z"
CURRENCY_PATTERN = r"^[A-Z]{3}\Z"
ROOT_PATH_PATTERN = r"^(/[^\s?#]*[^\s?#/])?\Z"

PATTERN_WORDS = {
    UPSTREAM_NAME_PATTERN: "a name made of letters, digits, '.', '_' and '-'",
    MODEL_NAME_PATTERN: "a name without spaces",
    VARIABLE_PATTERN: "the name of an environment variable (never the key itself)",
    CURRENCY_PATTERN: 'a currency code of three capitals such as "USD"',
    ROOT_PATH_PATTERN: "nothing, or a path which begins with '/' and does not end with one",
}

# A day at most: whoever writes more has most likely written milliseconds.
DAY_S = 86_400.0

UpstreamName: TypeAlias = Annotated[str, Meta(pattern=UPSTREAM_NAME_PATTERN)]
ModelName: TypeAlias = Annotated[str, Meta(pattern=MODEL_NAME_PATTERN)]
Text: TypeAlias = Annotated[str, Meta(min_length=1)]
Pause: TypeAlias = Annotated[float, Meta(ge=0, le=DAY_S)]
Limit: TypeAlias = Annotated[float, Meta(gt=0, le=DAY_S)]
Milliseconds: TypeAlias = Annotated[int, Meta(ge=0, le=3_600_000)]
Tokens: TypeAlias = Annotated[int, Meta(ge=1, le=100_000_000)]
Count: TypeAlias = Annotated[int, Meta(ge=1, le=1024)]
LogProbability: TypeAlias = Annotated[float, Meta(ge=-1000, le=0)]
