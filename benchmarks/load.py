"""Puts load on something that speaks OpenAI's API, and prints one JSON object about it."""

from __future__ import annotations

import argparse

import msgspec

from benchmarks import loops
from benchmarks.closed_loop import stream
from benchmarks.open_loop import rate
from benchmarks.requests import Target


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    modes = parser.add_subparsers(dest="mode", required=True)
    for name in ("rate", "stream"):
        mode = modes.add_parser(name)
        mode.add_argument("--port", type=int, required=True)
        mode.add_argument("--path", default="/v1/chat/completions")
        mode.add_argument("--key", default="none")
        mode.add_argument("--model", default="mock-model")
        mode.add_argument("--logprobs", action="store_true", help="ask for log-probabilities")
        mode.add_argument("--bytes", type=int, default=1000, help="size of a request's body")
        mode.add_argument("--seconds", type=float, default=5.0)
    by_rate, by_stream = modes.choices["rate"], modes.choices["stream"]
    by_rate.add_argument("--rate", type=float, default=100.0, help="requests a second")
    by_rate.add_argument("--connections", type=int, default=32)
    by_stream.add_argument("--streams", type=int, default=20, help="open at the same time")
    by_stream.add_argument("--chunks", type=int, default=200, help="in each stream")
    by_stream.add_argument("--most", type=int, default=1_000_000, help="streams in all")
    return parser.parse_args()


def main() -> None:
    """Runs one load and prints what came of it."""
    given = _arguments()
    target = Target(given.port, given.path, given.key, given.model, given.logprobs)
    if given.mode == "rate":
        result: object = loops.run(
            rate(
                target,
                per_second=given.rate,
                connections=given.connections,
                seconds=given.seconds,
                size=given.bytes,
            )
        )
    else:
        result = loops.run(
            stream(
                target,
                streams=given.streams,
                seconds=given.seconds,
                chunks=given.chunks,
                most=given.most,
                size=given.bytes,
            )
        )
    print(msgspec.json.encode(result).decode())


if __name__ == "__main__":
    main()
