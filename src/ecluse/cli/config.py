"""``ecluse config``: make a configuration, look something up in it, find its mistakes."""

from __future__ import annotations

import sys
from pathlib import Path


def example() -> None:
    """Print a configuration with every key, its meaning and its default.

    Write it to a file with: ecluse config example > ecluse.toml
    """
    from ecluse.config import document

    sys.stdout.write(document.example())


def docs() -> None:
    """Print the reference of the configuration, in Markdown."""
    from ecluse.config import document

    sys.stdout.write(document.render())


def check(*, config: Path | None = None) -> None:
    """Look for mistakes in a configuration, without starting anything.

    What is doubtful, as a route's model that no upstream of the file has, is a warning beside.

    Parameters
    ----------
    config
        The file. Without it: the one $ECLUSE_CONFIG names, else ./ecluse.toml, else none.
    """
    import os

    from ecluse.config.load import load
    from ecluse.config.paths import find_configuration
    from ecluse.diagnosis.advice import check_files, unset_keys, warnings
    from ecluse.diagnosis.settings import contents

    found = find_configuration(config, os.environ, Path())
    loaded = load(found)
    configuration = loaded.configuration
    check_files(loaded)
    for warning in (*unset_keys(configuration, os.environ), *warnings(configuration)):
        sys.stderr.write(f"Warning: {warning}\n")
    if found is None:
        sys.stdout.write("No configuration file: the defaults hold.\n")
        return
    sys.stdout.write(f"{found}: valid, with {contents(configuration)}.\n")
