"""Where the command line finds the database."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecluse.config.load import Loaded


def load_configuration(config: Path | None) -> Loaded:
    """The configuration; ``config`` None looks for the file as ``ecluse config check`` does.

    Raises ConfigurationError.
    """
    from ecluse.config.load import load
    from ecluse.config.paths import find_configuration

    return load(find_configuration(config, os.environ, Path()))


def store_directory(config: Path | None) -> Path:
    """The folder for the database: the configuration's, else the platform's.

    Raises ConfigurationError.
    """
    return load_configuration(config).storage_folder(os.environ, sys.platform, Path.home())
