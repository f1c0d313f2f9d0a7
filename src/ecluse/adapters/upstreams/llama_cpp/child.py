"""The child process: one model in llama.cpp's own HTTP server, on loopback, behind a key.

It reads one JSON line of settings from standard input, answers with one JSON line on standard
output, and lives until standard input ends: so it never outlives its parent, however that died.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

LOOPBACK = "127.0.0.1"
QUIET = 1


def main() -> None:
    """Serve until the parent is gone."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever the engine prints is no answer of ours
    settings = json.loads(sys.stdin.readline())
    try:
        server = _start(settings)
    except Exception as error:
        _answer(answers, {"error": str(error) or type(error).__name__})
        os._exit(1)
    _answer(answers, {"url": server.listening_address})
    while sys.stdin.read(1):
        pass
    os._exit(0)  # the engine's threads would be waited for otherwise


def _start(settings: dict[str, Any]) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["file"]
    params.model_alias = {settings["alias"]}
    params.hostnames = [LOOPBACK]
    params.port = 0
    params.api_keys = [settings["key"]]
    params.n_parallel = settings["parallel"]
    # Each of the parallel requests has the whole context: the engine divides what it is given.
    params.n_ctx = settings["context_tokens"] * settings["parallel"]
    params.use_jinja = True
    params.ui = False
    params.verbosity = QUIET
    if settings["threads"] is not None:
        params.cpuparams.n_threads = settings["threads"]
        params.cpuparams_batch.n_threads = settings["threads"]
    if settings["gpu_layers"] is not None:
        params.n_gpu_layers = settings["gpu_layers"]
    if settings["temperature"] is not None:
        params.sampling.temp = settings["temperature"]
    return xllamacpp.Server(params)


def _answer(answers: Any, told: dict[str, str]) -> None:
    answers.write(json.dumps(told) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
