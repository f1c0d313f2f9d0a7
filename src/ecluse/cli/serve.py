"""``ecluse serve``."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number

from ecluse.adapters.telemetry.program_log import log_to_stderr
from ecluse.config.load import Loaded, load
from ecluse.config.paths import find_configuration
from ecluse.diagnosis.advice import check_files, unset_keys, warnings

logger = logging.getLogger(__name__)


def serve(
    *,
    config: Path | None = None,
    host: str | None = None,
    port: Annotated[int | None, Parameter(validator=Number(gte=0, lte=65_535))] = None,
    check: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Start the gateway.

    Parameters
    ----------
    config
        The configuration file; default: $ECLUSE_CONFIG, else ./ecluse.toml if it is there.
    host
        Address to listen on, instead of the configured one.
    port
        Port to listen on, instead of the configured one; 0 takes any free one.
    check
        Only check the configuration, and exit.
    """
    chosen = find_configuration(config, os.environ, Path())
    overrides = {k: v for k, v in {"host": host, "port": port}.items() if v is not None}

    def load_again(generation: int) -> Loaded:
        loaded = load(chosen, generation)
        server = msgspec.structs.replace(loaded.configuration.server, **overrides)
        changed = msgspec.structs.replace(loaded.configuration, server=server)
        return msgspec.structs.replace(loaded, configuration=changed)

    loaded = load_again(1)
    configuration = loaded.configuration
    if check:
        check_files(loaded)
        for doubt in (*unset_keys(configuration, os.environ), *warnings(configuration)):
            print(f"Warning: {doubt}", file=sys.stderr)
        print(f"{chosen or 'The default configuration'} is valid.")
        return
    log_to_stderr(configuration.server.log)
    for doubt in warnings(configuration):
        logger.warning("%s", doubt)

    from ecluse.app import server, service

    server.run(lambda: service.serve(loaded, load_again))
