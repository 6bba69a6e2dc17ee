#!/bin/sh
# Makes machines without machines: images of a plain Debian or Ubuntu with systemd, sshd and an administrator who has sudo, for
# tests that reach them by SSH. Nothing of Kubernetes is in them: putting it there is what is tested.
#
#   machine.sh            socklb/machine:debian-12, :debian-13 and :ubuntu-24.04, loaded into the docker of DOCKER_HOST
#   machine.sh VERSION    this one: 12, 13 or 24.04
#
# An image of the same recipe that is there stays. The roots are kept in the cache folder. Wants setup/packages.sh
# setup/apt-kind.txt and the project's Python (make setup).
set -eu

images=$(CDPATH='' cd "$(dirname "$0")" && pwd)
# shellcheck source=images/names.sh
. "$images/names.sh"
machine_files="machine/entrypoint machine/setup node/keep-kernel-values"

main() {
    needs_python
    needs_root
    needs_docker
    mkdir -p "$cache"
    exec 9>"$cache/machine.lock"
    flock 9 # the work folder is one
    [ $# != 0 ] || set -- 12 13 24.04
    for release in "$@"; do
        case $release in
            12) name=debian-12 suite=bookworm ;;
            13) name=debian-13 suite=trixie ;;
            24.04) name=ubuntu-24.04 suite=noble ;;
            *) fail "no Debian or Ubuntu $release; it makes 12, 13 and 24.04" ;;
        esac
        make
    done
}

make() { # the image `name`, of a root of `suite`
    image=socklb/machine:$name
    recipe=$(inputs | sha256sum | cut -c 1-16)
    label='{{index .Config.Labels "socklb.recipe"}}'
    [ "$recipe" != "$(docker image inspect --format "$label" "$image" 2>/dev/null)" ] || return 0
    old=$(docker image inspect --format '{{.Id}}' "$image" 2>/dev/null || true)
    layer=$("$images/root.sh" machine "$suite")
    work=$cache/machine-$name.partial
    rm -rf "$work"
    mkdir -p "$work/root"
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    echo "Putting the image $image together ..."
    started=$(date +%s)
    tar -C "$work/root" -xf "$layer"
    for file in $machine_files; do
        install -m 755 "$images/$file" "$work/root/usr/local/sbin/"
    done
    chroot "$work/root" /usr/local/sbin/setup
    rm "$work/root/usr/local/sbin/setup"
    tar -C "$work/root" --numeric-owner -c . >"$work/machine.tar"
    "$python" "$images/archive.py" "$images/images.toml" "machine-$name" --layer machine="$work/machine.tar" \
        --label socklb.recipe="$recipe" | docker load --quiet
    rm -rf "$work"
    [ -z "$old" ] || docker image rm "$old" >/dev/null || echo "the old image $old is in use and stays" >&2
    echo "  done in $(($(date +%s) - started)) s"
}

inputs() { # whatever decides what is in the image
    cd "$images"
    # shellcheck disable=SC2086 # one word a file
    cat machine.sh root.sh names.sh archive.py images.toml machine/packages.txt $machine_files
}

main "$@"
