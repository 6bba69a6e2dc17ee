#!/bin/sh
# Lists what the agent depends on, from uv.lock: what is packed for nodes, and what the bill of materials names.
# Without aiohttp, a third of the official client's weight, which the agent never imports.
#
#   dependencies.sh [ARGUMENT of `uv export`...]
set -eu

cd "$(dirname "$0")/.."
exec setup/python.sh uv export --quiet --locked --no-default-groups --prune aiohttp --prune aiohttp-retry "$@"
