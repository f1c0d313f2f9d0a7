"""JSON Schema, checked by jsonschema-rs. Schemas come from clients: nothing is fetched for them,
and their patterns are matched in linear time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

SCHEMAS_KEPT = 64


def fits(schema: bytes, text: bytes) -> bool:
    """Whether a JSON text fits a schema; a schema that cannot be used excludes nothing."""
    try:
        value = msgspec.json.decode(text)
        validator = _validator(schema)
        return validator is None or bool(validator.is_valid(value))
    except (ValueError, RecursionError):
        return False


@lru_cache(SCHEMAS_KEPT)
def _validator(schema: bytes) -> Any:
    """A compiled schema, None where it is none. The import waits for the first one."""
    import jsonschema_rs

    try:
        return jsonschema_rs.validator_for(
            schema.decode(),
            offline=True,
            pattern_options=jsonschema_rs.RegexOptions(),
        )
    except (ValueError, RecursionError):
        return None
