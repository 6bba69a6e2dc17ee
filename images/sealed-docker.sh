#!/bin/sh
# A docker of our own, from which nothing can reach the machine's network: for tests, and for machines without a docker.
# It runs in the network namespace `socklb-docker`, which has no route, with a mount and a process namespace of its own,
# so that its containers, mounts and bridges end with it, also when it is killed. Images stay in the cache folder.
#
#   sealed-docker.sh start    starts it, or finds it running
#   sealed-docker.sh env      prints what a shell must set to use it: eval "$(images/sealed-docker.sh env)"
#   sealed-docker.sh run COMMAND...   runs a command where its containers' ports are (kind, kubectl), with that set
#   sealed-docker.sh stop     ends it and its containers; leaves no process, mount, namespace or cgroup
#
# Wants dockerd on PATH: setup/packages.sh setup/apt-kind.txt. SOCKLB_DOCKER is another name, socklb-…, for one beside it
# with images of its own.
set -eu

images=$(CDPATH='' cd "$(dirname "$0")" && pwd)
# shellcheck source=images/names.sh
. "$images/names.sh"
name=${SOCKLB_DOCKER:-socklb-docker}
run=/run/$name
socket=unix://$run/docker.sock
data=$cache/${name#socklb-}
# Where dockerd writes whatever it is told; a docker of the machine's own has its files there.
covered='/run/docker /etc/docker /opt/containerd'

main() {
    PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # a root shell made by `su` has none of them
    case ${1:-} in
        start) start ;;
        env) environment ;;
        run) shift; [ $# != 0 ] || usage; run_in "$@" ;;
        stop) stop ;;
        inside) inside ;;
        *) usage ;;
    esac
}

start() {
    [ "$(id -u)" = 0 ] || fail "only root can start it"
    ! answers || return 0
    stop # what a crash left behind
    command -v dockerd >/dev/null || fail "no dockerd on PATH. Run: setup/packages.sh setup/apt-kind.txt"
    mkdir -p "$run" "$data"
    trap 'stop' EXIT
    trap 'exit 130' INT TERM
    ip netns add "$name"
    ip -n "$name" link set lo up
    for folder in $covered /lib/modules; do # the last is bind-mounted into kind's nodes
        [ -d "$folder" ] || { mkdir "$folder" && echo "$folder" >>"$run/made"; }
    done
    # The caller's other files are closed: a lock among them would be held as long as dockerd lives.
    setsid nsenter "--net=/run/netns/$name" unshare --mount --propagation private --pid --fork \
        "$images/sealed-docker.sh" inside >"$run/docker.log" 2>&1 </dev/null 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
    wait_until_it_answers
    forget_containers
    trap - EXIT INT TERM
}

forget_containers() { # also those of a dockerd that was killed, with the volumes that would fill the disk
    # shellcheck disable=SC2046 # one word a container
    set -- $(docker --host "$socket" ps --all --quiet)
    [ $# = 0 ] || docker --host "$socket" rm --force --volumes "$@" >/dev/null
    docker --host "$socket" network prune --force >/dev/null
}

# Process 1 of the new process namespace, to begin with. /proc is still the machine's and tells the number that the
# process has out there, by which it is stopped.
inside() {
    cd /
    read -r pid rest </proc/self/stat
    echo "$pid" >"$run/pid"
    mount -t proc proc /proc
    for folder in $covered; do
        mount -t tmpfs tmpfs "$folder"
    done
    set -- --data-root "$data" --exec-root "$run/exec" --pidfile "$run/dockerd.pid" --host "$socket" \
        --cgroup-parent "/$name" --exec-opt native.cgroupdriver=cgroupfs
    if lacks_sys_resource; then
        set -- "$@" --add-runtime "sealed=$images/runc-without-sys-resource" --default-runtime sealed
    fi
    exec tini -- dockerd "$@"
}

# docker before 26 asks for every capability there is for a privileged container, and fails where one cannot be had.
lacks_sys_resource() {
    bounding=$(sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status)
    [ $((0x$bounding >> 24 & 1)) = 0 ]
}

wait_until_it_answers() {
    tries=0
    until answers; do
        tries=$((tries + 1))
        if [ $tries -gt 60 ] || ! { [ $tries -lt 5 ] || alive; }; then
            tail -n 20 "$run/docker.log" >&2
            fail "dockerd does not answer; its last lines are above"
        fi
        sleep 0.5
    done
}

answers() {
    docker --host "$socket" version >/dev/null 2>&1
}

alive() { # the process in $run/pid is ours only if it lives in our network namespace
    [ -s "$run/pid" ] && [ "$(ip netns identify "$(cat "$run/pid")" 2>/dev/null)" = "$name" ]
}

stop() {
    thaw
    if alive; then
        ! answers || forget_containers
        pid=$(cat "$run/pid")
        kill -TERM "$pid" # tini hands it on; dockerd ends its containers
        tries=0
        while alive && [ $tries -lt 60 ]; do
            tries=$((tries + 1))
            sleep 0.5
        done
        ! alive || kill -KILL "$pid" # with it ends whatever lives in its process namespace
    fi
    remove_cgroups
    [ ! -e "$run/made" ] || leave_folders
    [ ! -e "/run/netns/$name" ] || ip netns delete "$name"
    rm -rf "$run"
}

leave_folders() { # the last one removes them: another docker's mounts on them would go with them
    for other in /run/socklb-*/docker.sock; do
        [ -S "$other" ] && [ "$other" != "$run/docker.sock" ] || continue
        cat "$run/made" >>"${other%/*}/made"
        return
    done
    xargs rmdir --ignore-fail-on-non-empty <"$run/made"
}

thaw() { # SIGKILL does not reach a container that is paused, where the freezer is cgroup v1's
    find /sys/fs/cgroup -path "*/$name/*" \( -name freezer.state -o -name cgroup.freeze \) 2>/dev/null |
        while read -r file; do
            case $file in
                */freezer.state) thawed=THAWED ;;
                *) thawed=0 ;;
            esac
            echo $thawed >"$file" 2>/dev/null || true # it may have vanished meanwhile
        done
}

remove_cgroups() { # a process that was just killed may still be counted for a moment
    tries=0
    while folders=$(cgroups) && [ -n "$folders" ] && [ $tries -lt 20 ]; do
        echo "$folders" | xargs rmdir 2>/dev/null || sleep 0.25
        tries=$((tries + 1))
    done
}

cgroups() {
    # Some may vanish meanwhile.
    find /sys/fs/cgroup -depth -type d \( -path "*/$name" -o -path "*/$name/*" \) 2>/dev/null || true
}

environment() {
    echo "export DOCKER_HOST=$socket"
    echo "export PATH=$kubernetes/bin:\$PATH"
}

run_in() {
    answers || fail "it does not run. Run: images/sealed-docker.sh start"
    eval "$(environment)"
    exec nsenter "--net=/run/netns/$name" "$@"
}

usage() {
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

fail() {
    echo "images/sealed-docker.sh: $1" >&2
    exit 1
}

main "$@"
