#!/bin/sh
# Resolve the dependencies of pyproject.toml for every platform, pinned and with hashes.
set -eu
cd "$(dirname "$0")/.."
compile() {
    .venv/bin/uv pip compile "$@" --universal --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet
}
# run.txt holds the build backend too, so that nothing is fetched without a hash.
compile pyproject.toml --group build -o requirements/run.txt
compile pyproject.toml --group build --group test --group lint -o requirements/test.txt
