"""Which file is read, and where data is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecluse.config.paths import data_folder, find_configuration

HOME = Path("/home/ada")


def test_order_of_the_places(tmp_path: Path) -> None:
    """What was asked for comes first, then the environment, then the folder, then nothing."""
    environment = {"ECLUSE_CONFIG": "from_environment.toml"}
    asked = Path("asked.toml")
    assert find_configuration(asked, environment, tmp_path) == tmp_path / "asked.toml"
    assert find_configuration(None, environment, tmp_path) == tmp_path / "from_environment.toml"
    assert find_configuration(None, {"ECLUSE_CONFIG": ""}, tmp_path) is None
    (tmp_path / "ecluse.toml").touch()
    assert find_configuration(None, {}, tmp_path) == tmp_path / "ecluse.toml"


def test_absolute_names_stay(tmp_path: Path) -> None:
    """A full path is not changed by the folder one is in."""
    full = tmp_path.absolute() / "other.toml"
    assert find_configuration(full, {}, Path("/somewhere")) == full


@pytest.mark.parametrize(
    ("environment", "platform", "folder"),
    [
        ({}, "linux", HOME / ".local/share/ecluse"),
        ({"XDG_DATA_HOME": "/data"}, "linux", Path("/data/ecluse")),
        ({"XDG_DATA_HOME": "relative"}, "linux", HOME / ".local/share/ecluse"),
        ({"XDG_DATA_HOME": ""}, "freebsd14", HOME / ".local/share/ecluse"),
        ({"XDG_DATA_HOME": "/data"}, "darwin", HOME / "Library/Application Support/ecluse"),
        ({"LOCALAPPDATA": "/local"}, "win32", Path("/local/ecluse")),
        ({}, "win32", HOME / "AppData/Local/ecluse"),
        ({"ECLUSE_HOME": "/e", "XDG_DATA_HOME": "/data"}, "linux", Path("/e")),
        ({"ECLUSE_HOME": "/e"}, "darwin", Path("/e")),
        ({"ECLUSE_HOME": "/e", "LOCALAPPDATA": "/local"}, "win32", Path("/e")),
    ],
)
def test_data_folder(environment: dict[str, str], platform: str, folder: Path) -> None:
    """Each platform has its own place, and $ECLUSE_HOME is above all."""
    assert data_folder(environment, platform, HOME) == folder
