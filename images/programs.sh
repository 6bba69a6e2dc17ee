#!/bin/sh
# Builds Kubernetes' programs, those that a cluster of kind needs beside them, and Helm, from Go modules; the versions and the
# checksums of everything they are made from stand in programs/*/go.mod and go.sum. What is there is not built again.
#
#   programs.sh                 builds all but e2e.test and ginkgo
#   programs.sh PROGRAM...      builds these
#
# Prints the folder that holds them on stdout, progress on stderr. One cold build of all takes some 15 minutes of CPU
# time, 2 GB of memory and 8 GB in Go's own caches.
set -eu

images=$(CDPATH='' cd "$(dirname "$0")" && pwd)
# shellcheck source=images/names.sh
. "$images/names.sh"
programs='kube-apiserver etcd etcdctl etcdutl kube-controller-manager kubectl kind kubeadm kubelet kube-scheduler kube-proxy'
programs="$programs agnhost regression-issue-74839 pause coredns flanneld helm"
bin=$kubernetes/bin
log=$kubernetes/build.log

main() {
    mkdir -p "$bin"
    exec 9>"$kubernetes/lock"
    # shellcheck disable=SC2086 # one word a program
    [ $# != 0 ] || set -- $programs
    for program in "$@"; do
        describe "$program"
        is_built || build_once
    done
    echo "$bin"
}

# PROGRAM: sets module (a folder of programs/, or of an older version's in it), package, and key, which changes with
# whatever it is made from.
describe() {
    program=$1
    case $program in
        kube-apiserver | kube-controller-manager | kube-scheduler | kube-proxy | kubeadm | kubectl | kubelet)
            module=kubernetes package=k8s.io/kubernetes/cmd/$program ;;
        agnhost | regression-issue-74839) module=kubernetes package=k8s.io/kubernetes/test/images/$program ;;
        pause) module=kubernetes package=k8s.io/kubernetes/build/pause/linux ;; # in C
        e2e.test) module=kubernetes package=k8s.io/kubernetes/test/e2e ;;
        ginkgo) module=kubernetes package=github.com/onsi/ginkgo/v2/ginkgo ;;
        etcd) module=etcd package=go.etcd.io/etcd/server/v3 ;;
        etcdctl | etcdutl) module=etcdctl package=go.etcd.io/etcd/$program/v3 ;;
        coredns) module=coredns package=github.com/coredns/coredns ;;
        flanneld) module=flannel package=github.com/flannel-io/flannel ;;
        kind) module=kind package=sigs.k8s.io/kind ;;
        helm) module=helm package=helm.sh/helm/v3/cmd/helm ;;
        *) fail "no program \"$program\"; it knows: $programs e2e.test ginkgo" ;;
    esac
    module=$images/programs/$module
    [ ! -d "$images/programs/$version/${module##*/}" ] || module=$images/programs/$version/${module##*/}
    key=$({ cat "$module/go.mod" "$module/go.sum"; version_flags; } | sha256sum)
}

is_built() {
    [ -x "$bin/$program" ] && [ "$key" = "$(cat "$kubernetes/keys/$program" 2>/dev/null)" ]
}

build_once() { # two builds at once would only do the same work twice; what is there waits for nobody's build
    flock 9
    is_built || build
    flock -u 9
}

build() {
    find_go
    echo "Building $program ($package) ..." >&2
    started=$(date +%s)
    (cd "$module" && compile) >"$log" 2>&1 9>&- || {
        tail -n 30 "$log" >&2
        fail "$program could not be built; the whole output is in $log"
    }
    mv "$bin/.$program" "$bin/$program"
    mkdir -p "$kubernetes/keys"
    echo "$key" >"$kubernetes/keys/$program"
    echo "  done in $(($(date +%s) - started)) s" >&2
}

compile() {
    export CGO_ENABLED=0 GOWORK=off GOFLAGS='-trimpath -buildvcs=false'
    unset GOROOT # it may be an older Go's
    case $program-$version in # asks its preflight for https://[10.96.0.1]:1234/, which Go refuses since 1.24.8
        kubeadm-v1.33.*) export GOTOOLCHAIN=go1.24.7 ;;
    esac
    case $program in
        pause)
            source=$(module_folder k8s.io/kubernetes)/${package#k8s.io/kubernetes/}/pause.c
            clang -Os -static -DVERSION="$version" -o "$bin/.pause" "$source" ;;
        flanneld) compile_flanneld ;;
        helm) "$go" build -ldflags "-s -w $(helm_flags)" -o "$bin/.$program" "$package" ;;
        e2e.test) "$go" test -c -ldflags "-s -w $(version_flags)" -o "$bin/.e2e.test" "$package" ;;
        *) "$go" build -ldflags "-s -w $(version_flags)" -o "$bin/.$program" "$package" ;;
    esac
}

# Its UDP backend is in C. What is left out is the backend of one cloud, whose modules not every proxy has: `go get` of
# the whole would ask for them.
compile_flanneld() {
    source=$(module_folder "$package")
    release=${source##*@}
    work=$kubernetes/flannel
    mkdir -p "$work"
    cp go.mod go.sum "$work"
    grep -v 'backend/tencentvpc"' "$source/main.go" >"$work/main.go"
    cd "$work"
    export CGO_ENABLED=1 CC=clang
    flags="-s -w -linkmode external -extldflags -static -X $package/pkg/version.Version=$release"
    "$go" build -tags netgo,osusergo -ldflags "$flags" -o "$bin/.$program" .
}

module_folder() { # MODULE: prints where its source is
    "$go" mod download "$1" >&2
    "$go" list -m -f '{{.Dir}}' "$1"
}

helm_flags() { # Kubernetes' version is what charts are held against where no cluster is asked; else it would be 1.20
    for package_path in pkg/chartutil pkg/lint/rules; do
        echo "-X helm.sh/helm/v3/$package_path.k8sVersionMajor=1 -X helm.sh/helm/v3/$package_path.k8sVersionMinor=$(minor)"
    done | tr '\n' ' '
}

minor() { # of Kubernetes
    rest=${version#v*.}
    echo "${rest%.*}"
}

version_flags() { # kubeadm compares its own version with the one it is asked for; a module's zip does not carry it
    base=k8s.io/component-base/version
    echo "-X $base.gitVersion=$version -X $base.gitMajor=1 -X $base.gitMinor=$(minor) -X $base.gitTreeState=clean" \
        "-X k8s.io/client-go/pkg/version.gitVersion=$version"
}

find_go() { # sets go
    for go in "$(command -v go || true)" /usr/local/go/bin/go "$cache/go/bin/go"; do
        ! is_new_enough "$go" || return 0
    done
    fetch_go
    go=$cache/go/bin/go
}

is_new_enough() { # FILE: what flannel asks for; a tool line in go.mod is known from 1.24 on
    found=$(GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null) || return 1
    printf 'go1.24.7\n%s\n' "$found" | sort -C -V
}

fetch_go() { # Go's toolchains are modules too, which any Go can download and verify
    command -v go >/dev/null || "$images/../setup/packages.sh" setup/apt-go.txt >&2
    old=$(command -v go)
    toolchain=golang.org/toolchain@v0.0.1-$go_release.linux-$(dpkg --print-architecture)
    echo "Fetching $go_release ($("$old" version) is too old) ..." >&2
    folder=$(cd / && GOFLAGS=-modcacherw "$old" mod download -json "$toolchain" | sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p')
    [ -d "$folder" ] || fail "\`$old mod download $toolchain\` brought nothing"
    rm -rf "$cache/go"
    cp -r "$folder" "$cache/go"
    chmod -R u+w "$cache/go"
    chmod +x "$cache/go/bin/"* "$cache/go/pkg/tool/"*/* # a module's files are not executable
}

fail() {
    echo "images/programs.sh: $1" >&2
    exit 1
}

main "$@"
