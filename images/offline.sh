#!/bin/sh
# Makes the folder that machines without internet get a cluster from, by roles/container_runtime and its like:
#
#   programs/                 kubelet, kubeadm, kubectl
#   images/node.tar           container images of every node: pause, coredns, socklb/tools
#   images/control-plane.tar  of a control plane: etcd and Kubernetes' own; images/kube-proxy.tar: kube-proxy's
#   packages/SUITE/           Debian packages and their index: `deb [trusted=yes] file:FOLDER ./` of sources.list(5)
#   SHA256SUMS                of all of these
#
#   offline.sh            prints the folder on stdout, progress on stderr
#   SOCKLB_KUBERNETES=v1.33.5 offline.sh    of the version before, for the test of an upgrade
#
# It lies in the cache folder and is made again when its recipe changes. Wants setup/packages.sh setup/apt-kind.txt.
set -eu

images=$(CDPATH='' cd "$(dirname "$0")" && pwd)
# shellcheck source=images/names.sh
. "$images/names.sh"
folder=$cache/offline-${version#v}
work=$folder.partial
on_machines='kubelet kubeadm kubectl'
in_images='pause etcd etcdctl etcdutl kube-apiserver kube-controller-manager kube-scheduler kube-proxy coredns agnhost'

main() {
    needs_python
    needs_root
    exec 9>"$cache/offline.lock"
    flock 9
    # shellcheck disable=SC2086 # one word a program
    programs=$("$images/programs.sh" $on_machines $in_images)
    recipe=$(cd "$images" && cat offline.sh root.sh names.sh archive.py images.toml machine/*.txt tools/packages.txt \
        programs/*/go.sum programs/v*/*/go.sum programs/v*/names.sed | sha256sum)
    [ "$recipe" = "$(cat "$folder/.recipe" 2>/dev/null)" ] || make >&2
    echo "$folder"
}

make() {
    echo "Making the folder for machines without internet ..."
    started=$(date +%s)
    rm -rf "$work"
    trap 'rm -rf "$work" "$work.root"' EXIT
    trap 'exit 130' INT TERM
    mkdir -p "$work/programs" "$work/images"
    for program in $on_machines; do
        install -m 755 "$programs/$program" "$work/programs/"
    done
    names=$images/programs/$version/names.sed # of another version than images.toml's
    sed -f "$([ -f "$names" ] && echo "$names" || echo /dev/null)" "$images/images.toml" >"$work/images.toml"
    tools_layer=$("$images/root.sh" tools)
    archive node pause coredns tools
    archive control-plane etcd kube-apiserver kube-controller-manager kube-scheduler
    archive kube-proxy kube-proxy
    for suite in bookworm trixie noble; do
        packages $suite
    done
    rm "$work/images.toml"
    (cd "$work" && find programs images packages -type f | sort | xargs sha256sum) >"$work/SHA256SUMS"
    echo "$recipe" >"$work/.recipe"
    rm -rf "$folder"
    mv "$work" "$folder"
    echo "  done in $(($(date +%s) - started)) s"
}

archive() { # NAME IMAGE...
    file=$work/images/$1.tar
    shift
    "$python" "$images/archive.py" "$work/images.toml" "$@" --layer tools="$tools_layer" --programs "$programs" >"$file"
}

# SUITE: what is missing in a machine's root, as that suite's own apt finds it.
packages() {
    wanted=$(sed -e 's/[[:space:]]*#.*//' -e '/^$/d' "$images/machine/offline.txt" | paste -sd ' ')
    layer=$("$images/root.sh" machine "$1")
    root=$work.root
    rm -rf "$root"
    mkdir -p "$root" "$work/packages/$1"
    tar -C "$root" -xf "$layer"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    log=$cache/offline.log
    # shellcheck disable=SC2086 # one word a package
    { chroot "$root" apt-get -q update && chroot "$root" apt-get -q -y -o APT::Sandbox::User=root \
        --no-install-recommends --download-only install $wanted; } >"$log" 2>&1 || {
        tail -n 20 "$log"
        fail "apt-get of $1 failed; the whole output is in $log"
    }
    mv "$root"/var/cache/apt/archives/*.deb "$work/packages/$1/"
    rm -rf "$root"
    (cd "$work/packages/$1" && index >Packages)
}

index() {
    for file in *.deb; do
        dpkg-deb --field "$file"
        echo "Filename: ./$file"
        echo "Size: $(stat --format %s "$file")"
        echo "SHA256: $(sha256sum "$file" | cut -d ' ' -f 1)"
        echo
    done
}

main
