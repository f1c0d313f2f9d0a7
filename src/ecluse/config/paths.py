"""Which configuration file is read, and where data is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

FILE_NAME = "ecluse.toml"


def find_configuration(
    explicit: Path | None, environment: Mapping[str, str], cwd: Path
) -> Path | None:
    """The file to read: the one asked for, else $ECLUSE_CONFIG, else ``cwd``'s ecluse.toml.

    None means the defaults. Only the last is looked for: whoever names a file wants to hear that
    it is missing. An empty ``Path()`` as ``cwd`` keeps the names in messages short.
    """
    if explicit is not None:
        return cwd / explicit
    if named := environment.get("ECLUSE_CONFIG"):
        return cwd / named
    usual = cwd / FILE_NAME
    return usual if usual.exists() else None


def data_folder(environment: Mapping[str, str], platform: str, home: Path) -> Path:
    """The folder of keys, budgets and receipts where the configuration names none.

    ``platform`` is ``sys.platform``. As the XDG base directory specification demands, a relative
    $XDG_DATA_HOME counts as unset.
    """
    if chosen := environment.get("ECLUSE_HOME"):
        return Path(chosen)
    if platform == "darwin":
        return home / "Library" / "Application Support" / "ecluse"
    if platform == "win32":
        local = environment.get("LOCALAPPDATA")
        return (Path(local) if local else home / "AppData" / "Local") / "ecluse"
    shared = Path(environment.get("XDG_DATA_HOME", ""))
    return (shared if shared.is_absolute() else home / ".local" / "share") / "ecluse"
