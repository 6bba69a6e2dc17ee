#!/bin/sh
# Makes .venv/ what uv.lock says, and .tools/ where the machine has no uv of its own that is new enough.
# With nothing to do it compares one checksum and ends.
#
#   python.sh            brings .venv/ up to date
#   python.sh docs       brings build/docs-venv/ up to date: what builds the site, and nothing else
#   python.sh fuzz       brings build/fuzz-venv/ up to date: what the tests need, and Atheris
#   python.sh uv ...     runs that uv
set -eu

cd "$(dirname "$0")/.."
uv_version=0.13.9 # the oldest that is trusted with uv.lock, and the one that is installed
# The caller's own environment must not redirect what belongs to this checkout.
unset VIRTUAL_ENV UV_PROJECT_ENVIRONMENT UV_PROJECT UV_NO_SYNC PYTHONHOME PYTHONPATH

main() {
    if [ "${1:-}" = uv ]; then
        shift
        find_uv
        exec "$uv" "$@"
    fi
    if [ "${1:-}" = docs ]; then
        bring build/docs-venv --only-group docs
    elif [ "${1:-}" = fuzz ]; then
        bring build/fuzz-venv --no-default-groups --group kit --group test --group fuzz
    else
        bring .venv
    fi
}

bring() { # FOLDER [ARGUMENT OF uv sync...]
    folder=$1
    shift
    key=$({
        cat pyproject.toml uv.lock setup/kit/pyproject.toml setup/python.sh
        sed -n '/^__version__ /p' socklb/__init__.py # the environment has it as metadata
    } | sha256sum)
    # A distribution upgrade removes the interpreter that the environment points to, so it is started too.
    if [ "$key" = "$(cat "$folder/socklb-key" 2>/dev/null)" ] && "$folder/bin/python" -c '' 2>/dev/null; then
        return
    fi
    find_uv
    # Compiled now, for a caller may forbid Python to keep what it compiles: half a second of every start of pyinfra.
    setup/step.sh uv-sync "Installing the locked Python environment into $folder" \
        env UV_PROJECT_ENVIRONMENT="$PWD/$folder" "$uv" sync --locked --compile-bytecode "$@"
    echo "$key" >"$folder/socklb-key"
}

find_uv() { # sets uv
    for uv in .tools/bin/uv "$(command -v uv || true)"; do
        ! is_new_enough "$uv" || return 0
    done
    setup/step.sh uv "Installing uv $uv_version into .tools" \
        sh -c "rm -rf .tools && python3 -m venv .tools && .tools/bin/pip install -q --disable-pip-version-check uv==$uv_version"
    uv=.tools/bin/uv
}

is_new_enough() { # FILE
    found=$("$1" --version 2>/dev/null | cut -d ' ' -f 2)
    [ -n "$found" ] && printf '%s\n%s\n' "$uv_version" "$found" | sort -C -V
}

main "$@"
