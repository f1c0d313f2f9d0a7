"""The child process: one model in llama.cpp's own HTTP server, on loopback, behind a key.

It reads one JSON line of settings from standard input, answers with one JSON line on standard
output, and lives until standard input ends: so it never outlives its parent, however that died.
While it loads it cannot look; then Linux sees to it, and elsewhere it ends once it has loaded.

It takes no notice of the signals that stop a whole group of processes (Ctrl-C, a service
manager's): the parent first lets answers end, which need it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
from typing import Any

LOOPBACK = "127.0.0.1"
QUIET = 1
PR_SET_PDEATHSIG = 1
"""``prctl(2)``"""


def main() -> None:
    """Serve until the parent is gone."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever the engine prints is no answer of ours
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    settings = json.loads(sys.stdin.readline())
    _be_killed_with_parent()
    try:
        server = _start(settings)
    except Exception as error:
        _answer(answers, {"error": str(error) or type(error).__name__})
        sys.exit(1)  # which has the engine write the rest of its log
    _answer(answers, {"url": server.listening_address})
    while sys.stdin.read(1):
        pass
    os._exit(0)  # the engine's threads would be waited for otherwise


def _be_killed_with_parent() -> None:
    """Have Linux end this process when its parent is gone: loading holds Python's lock."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


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
    params.cache_ram_mib = settings["cache_mib"]
    params.verbosity = QUIET
    if settings["threads"] is not None:
        params.cpuparams.n_threads = settings["threads"]
        params.cpuparams_batch.n_threads = settings["threads"]
    if settings["gpu_layers"] is not None:
        params.n_gpu_layers = settings["gpu_layers"]
    if settings["temperature"] is not None:
        params.sampling.temp = settings["temperature"]
    if settings["flash_attention"] is not None:
        kinds = xllamacpp.llama_flash_attn_type
        params.flash_attn_type = (
            kinds.LLAMA_FLASH_ATTN_TYPE_ENABLED
            if settings["flash_attention"]
            else kinds.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
    return xllamacpp.Server(params)


def _answer(answers: Any, told: dict[str, str]) -> None:
    answers.write(json.dumps(told) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
