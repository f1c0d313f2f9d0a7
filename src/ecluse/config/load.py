"""From a file to a ``Configuration``; every failure is a ConfigurationError with file and line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path

import msgspec

from ecluse.config import check
from ecluse.config.explain import explain
from ecluse.config.faults import Fault, dotted
from ecluse.config.locate import KeyPath, locate
from ecluse.config.paths import data_folder
from ecluse.config.schema import Configuration
from ecluse.domain.errors import ConfigurationError

_SYNTAX = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)


class Loaded(msgspec.Struct, frozen=True):
    """A configuration, the absolute path it came from (None: the defaults), and its number.

    A request keeps the generation it began with; each reload has the next number.
    """

    configuration: Configuration
    source: Path | None
    generation: int

    def resolve(self, name: str) -> Path:
        """A path named in the configuration; a relative one counts from the file's folder."""
        folder = Path() if self.source is None else self.source.parent
        return (folder / name).absolute()

    def storage_folder(self, environment: Mapping[str, str], platform: str, home: Path) -> Path:
        """Where data is kept: the folder of [storage], else the platform's."""
        named = self.configuration.storage.directory
        return self.resolve(named) if named else data_folder(environment, platform, home)


def load(path: Path | None, generation: int = 1) -> Loaded:
    """Read a file; None gives the defaults.

    Raises ConfigurationError when it is missing, unreadable, not UTF-8 or wrong.
    """
    if path is None:
        return Loaded(Configuration(), None, generation)
    return Loaded(parse(_read(path), str(path)), path.absolute(), generation)


def parse(text: str, filename: str) -> Configuration:
    """The configuration in a text. ``filename`` is for the messages only.

    Raises ConfigurationError such as ``ecluse.toml:9: server.port: expected an integer, got a
    string``.
    """
    document = _decode(text, filename)
    if (immense := _immense(document)) is not None:
        words = f"{dotted(immense)}: an integer of TOML has at most 64 bits"
        raise _located(Fault(immense, words), text, filename)
    try:
        configuration = msgspec.convert(document, Configuration)
    except msgspec.ValidationError as error:
        raise _located(explain(str(error), document), text, filename) from None
    found = list(check.faults(configuration))
    if found:
        # One at a time, the topmost first: the others often follow from it.
        first = min(found, key=lambda fault: locate(text, fault.path))
        raise _located(first, text, filename)
    return configuration


def _read(path: Path) -> str:
    try:
        # Editors on Windows put a byte order mark in front; TOML does not know it.
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path}: there is no such file.",
            next_step=f"Make one with: ecluse config example > {path.name}",
        ) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError(
            f"{path}:{line}: the file is not UTF-8 text.",
            next_step="Save it as UTF-8; older PowerShells write UTF-16 unless told otherwise.",
        ) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(f"{path}: it cannot be read ({reason}).") from None


def _decode(text: str, filename: str) -> dict[str, object]:
    try:
        return tomllib.loads(text, parse_float=_decimal)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(error, text, filename) from None
    except RecursionError:
        raise ConfigurationError(f"{filename}: its lists are nested too deeply.") from None
    except ValueError:  # what Python says of an integer of thousands of digits
        raise ConfigurationError(f"{filename}: a number in it has too many digits.") from None


def _decimal(text: str) -> Decimal:
    """Exact; an exponent beyond every limit becomes a number that no key accepts."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal("NaN")


def _immense(document: object) -> KeyPath | None:
    """Where an integer of more than 64 bits stands: converting or printing it may fail."""
    waiting: list[tuple[KeyPath, object]] = [((), document)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(((*path, name), item) for name, item in value.items())
        elif isinstance(value, list):
            waiting.extend(((*path, index), item) for index, item in enumerate(value))
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            return path
    return None


def _syntax_error(error: tomllib.TOMLDecodeError, text: str, filename: str) -> ConfigurationError:
    found = _SYNTAX.fullmatch(str(error))
    reason = found[1] if found else str(error)
    line: int | str = text.count("\n") + 1
    column: int | str = len(text) - text.rfind("\n")
    if found and found[2]:
        line, column = found[2], found[3]
    return ConfigurationError(
        f"{filename}:{line}:{column}: not valid TOML: {reason[:1].lower()}{reason[1:]}."
    )


def _located(fault: Fault, text: str, filename: str) -> ConfigurationError:
    message = f"{filename}:{locate(text, fault.path)}: {fault.message}"
    if fault.twin is not None:
        message += f" (line {locate(text, fault.twin)})"
    if fault.next_step and not message.endswith("."):
        message += "."
    return ConfigurationError(message, next_step=fault.next_step)
