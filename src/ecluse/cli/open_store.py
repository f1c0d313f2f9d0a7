"""Where the command line finds the database."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def store_directory(config: Path | None) -> Path:
    """The folder for the database: the configuration's, else the platform's.

    ``config`` None looks for the file as ``ecluse config check`` does. Raises ConfigurationError.
    """
    from ecluse.config.load import load
    from ecluse.config.paths import find_configuration

    loaded = load(find_configuration(config, os.environ, Path()))
    return loaded.storage_folder(os.environ, sys.platform, Path.home())
