"""Paid suppliers whose keys stand in the environment."""

from urllib.parse import urlsplit

import msgspec

from ecluse.domain.catalog.suppliers import SUPPLIERS, keys_found


def test_a_key_alone_enables_nothing() -> None:
    """A key that is found is shown, and used only once its supplier is named."""
    environment = {"OPENAI_API_KEY": "sk-1", "MISTRAL_API_KEY": "m-1", "PATH": "/bin"}
    found = {key.supplier.name: key.enabled for key in keys_found(environment, ())}
    assert found == {"openai": False, "mistral": False}
    found = {key.supplier.name: key.enabled for key in keys_found(environment, ["mistral"])}
    assert found == {"openai": False, "mistral": True}


def test_an_empty_variable_is_no_key() -> None:
    """Set to nothing or to spaces, a variable holds no key, enabled or not."""
    environment = {"OPENAI_API_KEY": "", "MISTRAL_API_KEY": " \n"}
    assert keys_found(environment, ["openai", "mistral"]) == ()


def test_the_key_itself_is_not_kept() -> None:
    """What is passed on can be logged."""
    found = keys_found({"OPENAI_API_KEY": "sk-secret"}, ["openai"])
    assert "sk-secret" not in repr(found)
    assert b"sk-secret" not in msgspec.json.encode(found)


def test_suppliers_are_told_apart() -> None:
    """Names, variables and addresses are unique; every address is encrypted."""
    for field in ("name", "key_variable", "url"):
        assert len({getattr(supplier, field) for supplier in SUPPLIERS}) == len(SUPPLIERS)
    for supplier in SUPPLIERS:
        assert urlsplit(supplier.url).scheme == "https"
        assert not supplier.url.endswith("/")
        assert len(supplier.jurisdiction) == 2
