#!/bin/sh
# Makes what a cluster without a registry needs, from Debian packages and Go modules.
#
#   build.sh node     kind's node image, with the images of the control plane and of the tests in it; loaded into the
#                     docker that DOCKER_HOST names. A node image of the same recipe that is there stays.
#   build.sh agent    build/agent-image.tar, for `kind load image-archive`: needs neither root nor apt-kind.txt
#
# What is slow to make stays in the cache folder, ${SOCKLB_CACHE:-$HOME/.cache/socklb}. Wants setup/packages.sh
# setup/apt-kind.txt and `make build`.
set -eu

images=$(CDPATH='' cd "$(dirname "$0")" && pwd)
# shellcheck source=images/names.sh
. "$images/names.sh"
cluster_images='pause etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy coredns tools'
cluster_images="$cluster_images agnhost busybox regression-issue-74839"

main() {
    needs_python
    case ${1:-} in
        node) node ;;
        agent) agent ;;
        *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
}

node() {
    needs_root
    needs_docker
    programs=$("$images/programs.sh")
    recipe=$(inputs | sha256sum | cut -c 1-16)
    label='{{index .Config.Labels "socklb.recipe"}}'
    [ "$recipe" != "$(docker image inspect --format "$label" "$node_image" 2>/dev/null)" ] || return 0
    old=$(docker image inspect --format '{{.Id}}' "$node_image" 2>/dev/null || true)
    node_layer=$("$images/root.sh" node)
    tools_layer=$("$images/root.sh" tools)
    work=$cache/node.partial
    rm -rf "$work"
    mkdir -p "$work/root"
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    echo "Putting the node image together ..."
    started=$(date +%s)
    tar -C "$work/root" -xf "$node_layer"
    add_programs
    import_images
    tar -C "$work/root" --numeric-owner -c . >"$work/node.tar"
    archive node --layer node="$work/node.tar" --label socklb.recipe="$recipe" | docker load --quiet
    [ -z "$old" ] || docker image rm "$old" >/dev/null || echo "the old node image $old is in use and stays" >&2
    echo "  done in $(($(date +%s) - started)) s"
}

inputs() { # whatever decides what is in the node image
    cd "$images"
    cat build.sh root.sh names.sh archive.py images.toml node/* tools/* programs/*/go.sum
}

add_programs() {
    for program in kubelet kubeadm kubectl; do
        install -m 755 "$programs/$program" "$work/root/usr/bin/$program"
    done
    mkdir -p "$work/root/kind" "$work/root/opt/cni" "$work/root/etc/containerd"
    echo "$version" >"$work/root/kind/version"
    ln -s ../../usr/lib/cni "$work/root/opt/cni/bin"
    for script in entrypoint keep-kernel-values prepare-kubelet-cgroup; do
        install -m 755 "$images/node/$script" "$work/root/usr/local/bin/"
    done
    install -m 644 "$images/node/containerd.toml" "$work/root/etc/containerd/config.toml"
    install -m 644 "$images/node/kubelet.service" "$work/root/etc/systemd/system/"
    choose_units
}

# Nothing but what a node is for; systemd-sysctl in particular would set values of the whole machine.
choose_units() {
    units=$work/root/etc/systemd/system
    rm -rf "$units"/*.wants
    for target in multi-user local-fs basic; do
        rm -rf "$work/root/lib/systemd/system/$target.target.wants"
    done
    for unit in containerd kubelet; do
        chroot "$work/root" systemctl enable --quiet $unit
    done
    for unit in systemd-sysctl.service systemd-logind.service systemd-binfmt.service systemd-modules-load.service \
        getty@.service console-getty.service apt-daily.timer apt-daily-upgrade.timer fstrim.timer e2scrub_all.timer; do
        ln -sf /dev/null "$units/$unit"
    done
    ln -sf /lib/systemd/system/multi-user.target "$units/default.target"
}

# By the node's own containerd, so that what it finds at its first start is what it would have written itself.
import_images() {
    # shellcheck disable=SC2086 # one word an image
    archive $cluster_images --layer tools="$tools_layer" --programs "$programs" >"$work/root/images.tar"
    unshare --mount --net --pid --fork --mount-proc="$work/root/proc" chroot "$work/root" sh -euc '
        mount -t tmpfs tmpfs /run
        containerd --log-level fatal &
        until ctr version >/dev/null 2>&1; do sleep 0.2; done
        ctr --namespace k8s.io images import /images.tar
        kill $!
        wait $! || true # the signal is its exit code' >&2
    rm "$work/root/images.tar"
}

agent() {
    cd "$images/.."
    architecture=$(dpkg --print-architecture)
    setup/build-agent.sh $python_version "$architecture"
    "$python" -m images.agent_image --newer-packages --architecture "$architecture" \
        --agent "build/agent-$python_version-$architecture.tar" --out build/agent-image.tar.partial
    mv build/agent-image.tar.partial build/agent-image.tar
}

archive() {
    "$python" "$images/archive.py" "$images/images.toml" "$@"
}

main "$@"
