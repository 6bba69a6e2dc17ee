#!/bin/sh
# Makes the root file system of an image from Debian packages, as a layer: a gzip'd tar in the cache folder.
# One that was made from the same list of packages is not made again.
#
#   root.sh NAME            prints the path of the layer for NAME/packages.txt on stdout, progress on stderr
#   root.sh NAME SUITE      the same of another Debian than the one of names.sh, or of an Ubuntu: noble
set -eu

images=$(CDPATH='' cd "$(dirname "$0")" && pwd)
# shellcheck source=images/names.sh
. "$images/names.sh"
name=$1
suite=${2:-$suite}
key=$(cat "$images/$name/packages.txt" "$images/root.sh" | sha256sum | cut -c 1-16)
root=$cache/roots/$name-$suite
layer=$root-$key.tar.gz
work=$root.partial
log=$root.log

main() {
    mkdir -p "$cache/roots" "$cache/packages"
    exec 9>"$root.lock"
    flock 9
    [ -f "$layer" ] || make >&2
    echo "$layer"
}

make() {
    command -v debootstrap >/dev/null || fail "no debootstrap on PATH. Run: setup/packages.sh setup/apt-kind.txt"
    echo "Installing the packages of images/$name/packages.txt into a root of $suite ..."
    started=$(date +%s)
    rm -rf "$work" "$root"-*.tar.gz
    trap 'rm -rf "$work" "$layer.partial"' EXIT
    trap 'exit 130' INT TERM
    packages=$(sed -e 's/[[:space:]]*#.*//' -e '/^$/d' "$images/$name/packages.txt" | paste -sd ,)
    case $suite in
        noble) from_ubuntu ;;
        *) keys='' components=main mirror='' script='' kept=$cache/packages ;;
    esac
    # shellcheck disable=SC2086 # nothing, or one word
    unshare --mount debootstrap --variant=minbase --cache-dir="$kept" --include="$packages" \
        --components=$components $keys "$suite" "$work" $mirror $script >"$log" 2>&1 9>&- || {
        tail -n 20 "$log"
        fail "debootstrap failed; the whole output is in $log"
    }
    remove_what_no_image_needs
    tar -C "$work" --sort=name --numeric-owner --mtime=@0 -c . | gzip -1 >"$layer.partial"
    mv "$layer.partial" "$layer"
    echo "  done in $(($(date +%s) - started)) s"
}

# Debian has neither Ubuntu's keys nor, in Debian 12, a script for noble; jammy's does.
from_ubuntu() {
    mirror=http://archive.ubuntu.com/ubuntu components=main,universe script=/usr/share/debootstrap/scripts/jammy
    kept=$cache/packages/ubuntu keyring=ubuntu-keyring_2023.11.28.1_all.deb
    file=$kept/$keyring
    mkdir -p "$kept"
    [ -f "$file" ] || curl -fsS --output "$file" "$mirror/pool/main/u/ubuntu-keyring/$keyring"
    echo "36de43b15853ccae0028e9a767613770c704833f82586f28eb262f0311adb8a8  $file" | sha256sum --check --quiet || {
        rm "$file"
        fail "$keyring of $mirror is another file than it was"
    }
    dpkg-deb --extract "$file" "$kept/keyring"
    keys=--keyring=$kept/keyring/usr/share/keyrings/ubuntu-archive-keyring.gpg
}

remove_what_no_image_needs() {
    for folder in var/cache/apt var/lib/apt/lists var/log usr/share/doc usr/share/man usr/share/info usr/share/locale; do
        rm -rf "${work:?}/$folder"/*
    done
    : >"$work/etc/machine-id" # each container gets its own
    : >"$work/etc/resolv.conf"
    rm -f "$work/etc/hostname"
}

fail() {
    echo "images/root.sh: $1" >&2
    exit 1
}

main
