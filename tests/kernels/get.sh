#!/bin/bash
# Unpacks the newest cloud kernel of a suite of Debian, and prints the folder that holds it; progress goes to stderr.
#
#   get.sh SUITE        such as bookworm-security
#
# Needs no root, and leaves the system's apt alone. What was unpacked stays in the cache folder, one kernel a suite, and
# is used where the suite cannot be asked.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=images/names.sh
. "$here/../../images/names.sh"
suite=$1
kernels=$cache/kernels
work=$kernels/$suite
mirror=http://deb.debian.org

main() {
    mkdir -p "$work"/apt/{lists,archives}/partial
    exec 9>"$work/lock"
    flock 9
    sources >"$work/apt/sources.list"
    if ! apt-get update >"$work/apt/log" 2>&1 9>&-; then
        [ -e "$work/newest" ] || fail "suite $suite of Debian cannot be had: $(grep -m1 '^[EW]:' "$work/apt/log" || echo "see $work/apt/log")"
        echo "get.sh: suite $suite of Debian cannot be asked; its kernel of before is used" >&2
    else
        fetch
    fi
    echo "$work/$(cat "$work/newest")"
}

sources() {
    case $suite in
        *-security) place=$mirror/debian-security ;;
        *) place=$mirror/debian ;;
    esac
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $place $suite main"
}

fetch() { # unpacks what linux-image-cloud-amd64 depends on, unless it is here
    image=$(depends linux-image-cloud-amd64 | grep -m1 '^linux-image-[0-9].*-cloud-amd64$') ||
        fail "suite $suite of Debian has no package linux-image-cloud-amd64"
    release=${image#linux-image-}
    [ "$(cat "$work/newest" 2>/dev/null)" != "$release" ] || return 0
    echo "Fetching Linux $release of $suite ..." >&2
    # From 6.19 on the image is empty, and its files are in these.
    parts=$(depends "$image" | grep -xF -e "linux-binary-$release" -e "linux-modules-$release" -e "linux-base-$release" || true)
    rm -rf "$work/debs" "$work/partial"
    mkdir "$work/debs" "$work/partial"
    # shellcheck disable=SC2086 # one word a package
    (cd "$work/debs" && apt-get download "$image" $parts) >"$work/apt/log" 2>&1 9>&- ||
        fail "$image cannot be had: $(tail -n 1 "$work/apt/log")"
    for deb in "$work"/debs/*.deb; do
        dpkg -x "$deb" "$work/partial"
    done
    [ -d "$work/partial/lib" ] || ln -s usr/lib "$work/partial/lib"
    /sbin/depmod -b "$work/partial" "$release"
    rm -rf "$work/debs" "$work/${release:?}"
    mv "$work/partial" "$work/$release"
    old=$(cat "$work/newest" 2>/dev/null || true)
    echo "$release" >"$work/newest"
    [ -z "$old" ] || rm -rf "${work:?}/$old"
}

depends() { # PACKAGE
    apt-cache --no-recommends --no-suggests depends "$1" | sed -n 's/^ *|\?\(Pre\)\?Depends: //p'
}

apt-get() { with_our_lists apt-get "$@"; }
apt-cache() { with_our_lists apt-cache "$@"; }

with_our_lists() {
    command "$1" -q -o Dir::Etc::SourceList="$work/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$work/apt/lists" -o Dir::State::Status=/dev/null -o Dir::Cache="$work/apt" \
        -o APT::Architecture=amd64 -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none \
        -o APT::Update::Error-Mode=any "${@:2}"
}

fail() {
    echo "tests/kernels/get.sh: $1" >&2
    exit 1
}

main
