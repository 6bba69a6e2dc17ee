#!/bin/sh
# Fetches Linux headers for bcc, which compiles C as it runs: into the cache, nothing is installed. Only types are taken
# from them, so they need not be the running kernel's; where those are installed, nothing is done.
#
#   kernel-headers.sh
set -eu

cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/socklb/kernel-headers

main() {
    [ ! -e "/lib/modules/$(uname -r)/build" ] || exit 0
    architecture=$(dpkg --print-architecture)
    package=$(needed_by "linux-headers-$architecture" '-[0-9].*')
    [ -n "$package" ] || fail "apt knows no linux-headers-$architecture"
    [ ! -d "$cache/$package/merged" ] || exit 0
    echo "Fetching $package, 14 MB, for bcc ..."
    rm -rf "$cache/partial"
    mkdir -p "$cache/partial/merged"
    (cd "$cache/partial" && fetch "$package" "$(needed_by "$package" '-.*-common')") || fail "$package cannot be fetched"
    rm -rf "${cache:?}/$package"
    mv "$cache/partial" "$cache/$package"
}

needed_by() { # PACKAGE PATTERN: the linux-headers of this name that it depends on
    apt-cache depends "$1" 2>/dev/null | sed -n "s/^ *Depends: \(linux-headers$2\)\$/\1/p" | head -n 1
}

fetch() { # PACKAGE...: what is of one architecture and what is of all, in one tree
    apt-get -q download "$@" >download.log 2>&1 || { tail -n 3 download.log >&2; return 1; }
    for package in *.deb; do
        dpkg -x "$package" parts
        rm "$package"
    done
    for part in parts/usr/src/*; do
        cp -a "$part/include" merged/
        [ ! -d "$part/arch" ] || cp -a "$part/arch" merged/
    done
    rm -r parts
}

fail() {
    echo "setup/kernel-headers.sh: $1. Next: apt-get update, or install the headers of this kernel" >&2
    exit 1
}

main
