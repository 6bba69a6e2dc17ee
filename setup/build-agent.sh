#!/bin/sh
# Makes build/agent.tar, what a node unpacks below /opt/socklb: bin/socklb (a launcher), lib/ (the wheel and the
# dependencies that uv.lock names, with their hashes checked) and the manual page. An unchanged tree gives the same bytes.
# With nothing to do it compares one checksum and ends.
#
#   build-agent.sh          for the Python of .venv
#   build-agent.sh 3.11     for nodes with another one: build/agent-3.11.tar
#   build-agent.sh 3.11 arm64   and of another architecture, or amd64: build/agent-3.11-arm64.tar
set -eu

cd "$(dirname "$0")/.."

main() {
    for object in socklb/datapath/socklb.bpf.o socklb/datapath/socklb-5.12.bpf.o socklb/datapath/socklb-5.10.bpf.o; do
        [ -f $object ] || fail "$object is missing. Run: make build"
    done
    python=$(.venv/bin/python -c 'import os, sys; print(os.path.realpath(sys.executable))')
    agent=build/agent${1:+-$1}${2:+-$2}
    key=$( (echo "$python" && input_files | sort | xargs cat && input_files | sort) | sha256sum)
    if [ -f "$agent.tar" ] && [ "$key" = "$(cat "$agent.key" 2>/dev/null)" ]; then
        exit 0
    fi
    setup/step.sh agent "Packing the agent into $agent.tar" sh setup/build-agent.sh pack "$agent" "$python" "$@"
    echo "$key" >"$agent.key"
}

input_files() {
    find socklb -name '*.py' -o -name '*.bpf.o'
    ls README.md LICENSE bpf/LICENSE pyproject.toml uv.lock setup/build-agent.sh setup/dependencies.sh setup/launcher.sh
}

pack() { # FOLDER PYTHON [VERSION [ARCHITECTURE]]: PYTHON installs, for its own version or for another
    agent=$1
    version=${3:-$("$2" -c 'import sys; print("%d.%d" % sys.version_info[:2])')}
    case ${4:-} in
        amd64) platform=x86_64-manylinux_2_28 ;;
        arm64) platform=aarch64-manylinux_2_28 ;;
        '') platform= ;;
        *) fail "no wheels are known for $4; there are amd64 and arm64" ;;
    esac
    rm -rf "$agent" build/wheel "$agent.tar"
    mkdir -p "$agent/bin"
    uv build --quiet --wheel --out-dir build/wheel
    # Of the official client the agent uses credentials, TLS and requests. What it has for asyncio, its models and its
    # APIs are three quarters of all bytes, and it imports them only when they are asked for.
    setup/dependencies.sh --no-emit-project --output-file build/requirements.txt
    install_for_it "$2" --require-hashes --no-deps -r build/requirements.txt
    client=$agent/lib/kubernetes
    rm -rf "$client/aio"
    find "$client/client/models" "$client/client/api" -name '*.py' ! -name __init__.py -delete
    install_for_it "$2" --no-deps build/wheel/*.whl
    find "$agent/lib/bin" -type f ! -name socklb -delete
    # What uv notes about this machine and this moment.
    rm -rf "$agent"/lib/.lock "$agent"/lib/*.dist-info/direct_url.json "$agent"/lib/*.dist-info/uv_cache.json
    rm -f "$agent"/lib/*.dist-info/RECORD "$agent"/lib/*.dist-info/REQUESTED
    mkdir -p "$agent/share/man/man8"
    PYTHONPATH=. COLUMNS=80 .venv/bin/python -m socklb.cli.manual >"$agent/share/man/man8/socklb.8"
    [ -n "${3:-}" ] && interpreter=python$version || interpreter=$2
    compile_what_the_agent_imports
    sed -e "s|@PYTHON@|$interpreter|g" -e "s|@VERSION@|$version|g" setup/launcher.sh >"$agent/bin/socklb"
    chmod 755 "$agent/bin/socklb"
    tar --create --file "$agent.tar" --directory "$agent" --sort=name --format=gnu --mtime=@0 \
        --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX bin lib share
}

# Copied, for a link to a file in uv's cache changes when another build links to it, and tar then fails.
install_for_it() { # PYTHON ARGUMENT...
    installer=$1
    shift
    uv pip install --quiet --python "$installer" --python-version "$version" ${platform:+--python-platform "$platform"} \
        --only-binary :all: --link-mode copy --target "$agent/lib" "$@"
}

# Two seconds of each node's and each pod's first start. Where there is no Python of that version, and for a named
# architecture, nodes do it themselves.
compile_what_the_agent_imports() {
    [ -z "$platform" ] || return 0
    "$interpreter" -c "" 2>/dev/null || return 0 # pyenv has a command for each version, and some do not run
    lib=$PWD/$agent/lib
    env -u PYTHONDONTWRITEBYTECODE PYTHONPATH="$lib" "$interpreter" -P -s -c \
        'import socklb.cli, socklb.agent, socklb.api.cluster'
    # Again, for what Python wrote has times and places of this machine in it.
    find "$lib" -name '*.pyc' | sort | sed 's|__pycache__/\(.*\)\.cpython-[0-9]*\.pyc$|\1.py|' |
        "$interpreter" -m compileall -qf --invalidation-mode checked-hash -s "$PWD/$agent" -p /opt/socklb -i -
}

uv() {
    setup/python.sh uv "$@"
}

fail() {
    echo "setup/build-agent.sh: $1" >&2
    exit 1
}

case ${1:-} in
    pack) shift; pack "$@" ;;
    *) main "$@" ;;
esac
