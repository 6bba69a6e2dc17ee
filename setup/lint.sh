#!/bin/sh
# Runs every checker over the tree and says at the end which of them found something. Run it by `make lint`.
set -eu

cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH
found=

main() {
    check "uv.lock" setup/python.sh uv lock --check --offline --quiet # if it finds it old: setup/python.sh uv lock
    check "Python format" ruff format --check .
    check "Python style" ruff check .
    check "types" pyright
    check "imports between folders" lint-imports --no-logo
    check "C format" clang-format --dry-run -Werror bpf/*.[ch]
    # shellcheck disable=SC2046 # no file of ours has a space in its name
    check "shell scripts" shellcheck --external-sources $(shell_scripts)
    if [ -n "$found" ]; then
        echo "make lint: these found something:$found. \`make format\` mends formats." >&2
        exit 1
    fi
    echo "make lint: nothing found"
}

check() { # NAME COMMAND [ARGUMENT...]
    name=$1
    shift
    echo "== $name: $1"
    "$@" || found="$found [$name]"
}

shell_scripts() { # by their first line, so that one without an ending counts too
    find .ci setup bpf roles inventory labs images tests bench -type f ! -name '*.o' \
        -exec awk 'FNR == 1 && /^#!\/(usr\/)?bin\/(env )?(ba)?sh/ { print FILENAME } FNR == 1 { nextfile }' {} +
}

main
