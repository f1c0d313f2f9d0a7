"""JSON Schema from clients: checked, and neither fetched for nor made to wait for."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecluse.adapters.schemas import SCHEMAS_KEPT, fits

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


def check(schema: object, value: object) -> bool:
    """Whether a value fits a schema, both written as JSON."""
    return fits(json.dumps(schema).encode(), json.dumps(value).encode())


POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "kind": {"enum": ["a", "b"]}},
    "required": ["x"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "value", "good"),
    [
        (POINT, {"x": 1}, True),
        (POINT, {"x": 1, "kind": "b"}, True),
        (POINT, {"x": 1.5}, False),
        (POINT, {"x": 1, "kind": "c"}, False),
        (POINT, {}, False),
        (POINT, {"x": 1, "y": 1}, False),
        (POINT, [], False),
        (True, {"x": 1}, True),
        (False, {"x": 1}, False),
        ({}, "anything", True),
        ({"$ref": "#/$defs/p", "$defs": {"p": POINT}}, {"x": 1}, True),
        ({"$ref": "#/$defs/p", "$defs": {"p": POINT}}, {"x": "1"}, False),
        ({"type": "string", "pattern": "^a+$"}, "aaa", True),
        ({"type": "string", "pattern": "^a+$"}, "aab", False),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "null"}]},
            [1],
            False,
        ),
    ],
)
def test_schemas(schema: object, value: object, good: bool) -> None:
    """What JSON Schema says, of today's draft and the ones before."""
    assert check(schema, value) is good


@given(value=JSON)
def test_the_schema_of_anything_fits_anything(value: object) -> None:
    """And that of nothing nothing."""
    assert check({}, value)
    assert not check({"not": {}}, value)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"nope", b'{"a":NaN}', b"\xff", b'"\xff"', b"[" * 9999]
)
def test_what_is_no_json_fits_no_schema(text: bytes) -> None:
    """Not even one that cannot be used."""
    assert not fits(b"{}", text)
    assert not fits(b'{"type":"nonsense"}', text)


@pytest.mark.parametrize(
    "schema",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"1",
        b'"object"',
        b"\xff",
        b'{"type":"nonsense"}',
        b'{"type":5}',
        b'{"required":"a"}',
        b'{"$ref":"#/nowhere"}',
        b'{"$schema":"https://example.com/own"}',
        b'{"type":"string","pattern":"("}',
        b'{"type":"string","pattern":"(?=a)b"}',
        b'{"type":"string","pattern":"((a{1000}){1000}){1000}"}',
        b'{"not":' * 5_000 + b"{}" + b"}" * 5_000,
    ],
)
def test_a_schema_that_cannot_be_used_excludes_nothing(schema: bytes) -> None:
    """The client's mistake makes no answer bad."""
    for text in (b'{"a":1}', b"[1]", b'"c"'):
        assert fits(schema, text)
        assert fits(schema, text), "nor does it the second time"


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "URL"},
        {"$id": "URL", "$ref": "other.json"},
        {"$schema": "URL"},
        {"properties": {"a": {"$ref": "URL#/$defs/x"}}},
        {"$dynamicRef": "URL"},
    ],
)
def test_nothing_is_fetched(schema: dict[str, Any], tmp_path: Path) -> None:
    """Neither over the network nor from the disk, whatever a schema refers to."""
    forbidding = tmp_path / "schema.json"
    forbidding.write_text('{"not": {}, "$defs": {"x": {"not": {}}}}')
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        network = f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"
        for url in (network, forbidding.as_uri()):
            written = json.loads(json.dumps(schema).replace("URL", url))
            assert check(written, {"a": 1})
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "(.*a){20}$"])
def test_patterns_are_matched_in_linear_time(pattern: str) -> None:
    """What takes a backtracking engine longer than the universe lasts is done at once."""
    began = time.process_time()
    assert not check({"type": "string", "pattern": pattern}, "a" * 20_000 + "b")
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"not": {"$ref": "#"}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        {"items": {"$ref": "#"}, "additionalProperties": {"$ref": "#"}},
    ],
)
def test_schemas_that_refer_to_themselves_end(schema: object) -> None:
    """So do values that are nested as deeply as they can be."""
    check(schema, {"a": 1})
    for text in (b"[" * 800 + b"]" * 800, b'{"a":' * 800 + b"1" + b"}" * 800):
        fits(json.dumps(schema).encode(), text)


def test_many_schemas() -> None:
    """Those that were forgotten are compiled anew, and none is taken for another."""
    for _ in range(2):
        for number in range(2 * SCHEMAS_KEPT):
            assert check({"const": number}, number)
            assert not check({"const": number}, number + 1)
