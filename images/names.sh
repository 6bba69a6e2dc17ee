# shellcheck shell=sh disable=SC2034,SC2154 # read by the scripts of this folder
# What the scripts of this folder call things, the folder where they keep what is slow to make, and how they begin.
# Sourced by them.
version=${SOCKLB_KUBERNETES:-v1.34.4} # another one: programs/VERSION
suite=bookworm
python_version=3.11 # that suite's
go_release=go1.25.5
node_image=socklb/node:$version
cache=${SOCKLB_CACHE:-${HOME:-/root}/.cache/socklb}
kubernetes=$cache/kubernetes-${version#v}

needs_python() { # sets python; `images` is the script's folder, this one
    python=${images%/*}/.venv/bin/python
    PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # a root shell made by `su` has none of them
    [ -x "$python" ] || fail "$python is missing. Run: make setup"
}

needs_root() {
    [ "$(id -u)" = 0 ] || fail "only root can make the roots of images"
}

needs_docker() {
    docker version >/dev/null ||
        fail "no docker answers. Start one, or: images/sealed-docker.sh start; eval \"\$(images/sealed-docker.sh env)\""
}

fail() {
    echo "images/${0##*/}: $1" >&2
    exit 1
}
