#!/bin/sh
# Says whether this machine can run the agent and the local cluster, before anything on it is changed.
#
#   doctor.sh            a table: every prerequisite, what was found, the remedy where one is missing
#   doctor.sh --quiet    one line for each missing prerequisite, nothing else
#
# What is marked NOTE stops nothing: less works without it, or it may become short.
# Exit code: 0 all there, 1 something is missing, 2 wrong usage.
# It reads /proc, /sys, /lib/modules and PATH, needs nothing but a base system, and changes nothing. It does not load a
# BPF program: a kernel that was built without cgroup hooks passes here and is reported by the agent.
# Tests put another tree under SOCKLB_DOCTOR_ROOT and another `uname` and `df` on PATH.
# shellcheck disable=SC2329 # the predicates are called by name
set -u

root=${SOCKLB_DOCTOR_ROOT:-}
release=$(uname -r)
missing=0
quiet=no
disk_mb=2000  # .venv, .tools and build take 650 MB, Debian's packages 900, the nodes' own files the rest
memory_mb=500 # three agents, and the servers of the pods

main() {
    case ${1:-} in
        '') ;;
        --quiet) quiet=yes ;;
        *) echo "usage: doctor.sh [--quiet]" >&2; exit 2 ;;
    esac
    [ $quiet = yes ] || printf '%-8s %-14s %s\n' STATE PREREQUISITE FOUND
    check 'root' user_is_root \
        'run the command as root, for example: sudo make lab'
    check 'kernel' kernel_is_new_enough \
        'boot Linux 5.10 or newer (Debian 11, Ubuntu 22.04 and later have it)'
    check 'architecture' architecture_is_known \
        'use an x86_64 or aarch64 machine'
    check 'cgroup v2' cgroup2_is_usable \
        'mount -t cgroup2 cgroup2 /sys/fs/cgroup (beside cgroup v1: on /sys/fs/cgroup/unified); in a container: writable'
    check 'bpffs' 'filesystem_is_known bpf' \
        'boot a kernel with CONFIG_BPF_SYSCALL (every distribution kernel has it)'
    check 'BTF' btf_is_there \
        'boot a kernel with CONFIG_DEBUG_INFO_BTF=y (every Debian and Ubuntu kernel since 5.10 has it)'
    check 'capabilities' capabilities_suffice \
        'run it outside the container, or start the container with --privileged'
    check 'namespaces' namespaces_are_there \
        'boot a kernel with CONFIG_NAMESPACES, _NET_NS, _PID_NS and _UTS_NS'
    check 'overlayfs' overlay_is_there \
        'install the kernel modules of the running kernel (CONFIG_OVERLAY_FS)'
    check 'veth' 'driver_is_there veth veth_newlink' \
        'install the kernel modules of the running kernel (CONFIG_VETH)'
    check 'bridge' 'driver_is_there bridge br_dev_newlink' \
        'install the kernel modules of the running kernel (CONFIG_BRIDGE)'
    check 'apt-get' apt_is_there \
        'use Debian 12, Debian 13, Ubuntu 22.04 or Ubuntu 24.04'
    advise 'tc' tc_is_there \
        'install the kernel modules of the running kernel; without them clients outside the cluster are not served'
    advise 'tun' 'driver_is_there tun tun_chr_open' \
        'install the kernel modules of the running kernel (CONFIG_TUN); without them lab 02 has no flannel'
    advise 'disk' disk_is_free \
        'make room: docker system prune, apt-get clean, make clean in other checkouts'
    advise 'memory' memory_is_free \
        'end what needs much memory, or take a larger machine'
    exit $missing
}

check() { # NAME PREDICATE REMEDY; the predicate prints what it found
    name=$1 predicate=$2 remedy=$3
    if found=$($predicate); then
        [ $quiet = yes ] || printf '%-8s %-14s %s\n' ok "$name" "$found"
        return
    fi
    missing=1
    if [ $quiet = yes ]; then
        echo "socklb cannot run here: $name: $found. Remedy: $remedy" >&2
    else
        printf '%-8s %-14s %s\n%23s remedy: %s\n' MISSING "$name" "$found" '' "$remedy"
    fi
}

advise() { # NAME PREDICATE REMEDY: as check, but nothing stops where it fails
    [ $quiet = no ] || return 0
    if found=$($2); then
        printf '%-8s %-14s %s\n' ok "$1" "$found"
    else
        printf '%-8s %-14s %s\n%23s remedy: %s\n' NOTE "$1" "$found" '' "$3"
    fi
}

user_is_root() {
    id=$(id -u)
    echo "user id $id"
    [ "$id" = 0 ]
}

# What it may lack is told by version, with what that costs; the agent asks the kernel itself
# (socklb/datapath/features.py, socklb/tc/tcx.py, socklb/tc/attached.py).
kernel_is_new_enough() {
    echo "Linux $release (5.10 or newer is needed)"
    may_lack 6 6 'tcx links' 'a program at a device costs 0.16 us a packet more, as a filter of clsact'
    may_lack 6 1 'set errno from cgroup hooks' \
        'refusals are left to the packet path, and NodePorts are not kept free of listeners'
    may_lack 5 14 'netns cookie socket option' \
        "NodePorts on localhost are served to sockets only if a hook sees the agent: run it below the node's cgroup"
    may_lack 5 14 'tunnels that are unpacked at tc' 'ipip and sit are not served'
    may_lack 5 12 'atomic compare-and-swap in programs' \
        'records are kept with the sockets, a connect costs a microsecond more, and least-loaded choice is random choice'
    kernel_is_at_least 5 10
}

may_lack() { # MAJOR MINOR FEATURE COST
    [ "$quiet" = yes ] || kernel_is_at_least "$1" "$2" || printf '%23s may lack %s (Linux %s.%s): without it %s\n' '' "$3" "$1" "$2" "$4"
}

kernel_is_at_least() { # MAJOR MINOR
    major=${release%%.*}
    minor=${release#*.}
    minor=${minor%%[!0-9]*}
    [ "$major" -gt "$1" ] || { [ "$major" -eq "$1" ] && [ "${minor:-0}" -ge "$2" ]; }
}

architecture_is_known() {
    machine=$(uname -m)
    echo "$machine"
    case $machine in x86_64 | aarch64) ;; *) return 1 ;; esac
}

# It must be mounted, and writable: unprivileged containers see a read-only mount.
cgroup2_is_usable() {
    mounts=$(sed -n 's/^[0-9]* [0-9]* [^ ]* [^ ]* \([^ ]*\) \([^ ]*\) \(.* \)\{0,1\}- cgroup2 .*/\2 \1/p' "$root/proc/self/mountinfo")
    writable=$(echo "$mounts" | sed -n 's/^rw[^ ]* //p' | head -n 1)
    if [ -n "$writable" ]; then
        echo "mounted on $writable"
    elif [ -n "$mounts" ]; then
        echo "mounted read-only on ${mounts#* }"
        return 1
    else
        echo "not mounted"
        return 1
    fi
}

filesystem_is_known() { # TYPE
    if grep -qs "[[:space:]]$1\$" "$root/proc/filesystems"; then
        echo "the kernel knows file system type $1"
    else
        echo "no file system type $1 in /proc/filesystems"
        return 1
    fi
}

btf_is_there() {
    if [ -r "$root/sys/kernel/btf/vmlinux" ]; then
        echo /sys/kernel/btf/vmlinux
    else
        echo "no /sys/kernel/btf/vmlinux"
        return 1
    fi
}

# Bits of linux/capability.h. CAP_SYS_ADMIN makes namespaces and mounts and includes what CAP_BPF allows (split off in 5.8).
capabilities_suffice() {
    effective=$(sed -n 's/^CapEff:[[:space:]]*//p' "$root/proc/self/status")
    lacking=
    [ $((0x${effective:-0} >> 21 & 1)) = 1 ] || lacking="$lacking CAP_SYS_ADMIN"
    [ $((0x${effective:-0} >> 12 & 1)) = 1 ] || lacking="$lacking CAP_NET_ADMIN"
    echo "${lacking:+no}${lacking:-CAP_SYS_ADMIN CAP_NET_ADMIN}"
    [ -z "$lacking" ]
}

namespaces_are_there() {
    lacking=
    for kind in cgroup mnt net pid uts; do
        [ -e "$root/proc/self/ns/$kind" ] || lacking="$lacking $kind"
    done
    echo "${lacking:+no}${lacking:-cgroup mnt net pid uts}"
    [ -z "$lacking" ]
}

# Until its first use a module is neither in /proc/filesystems nor in /sys/module, but in the kernel's module lists.
overlay_is_there() {
    if found=$(filesystem_is_known overlay); then
        echo "$found"
    else
        module_is_listed overlay
    fi
}

driver_is_there() { # MODULE SYMBOL; built-in drivers may show in no list, then a function of theirs tells
    if [ -d "$root/sys/module/$1" ]; then
        echo "driver $1 is loaded"
    elif grep -qs " $2" "$root/proc/kallsyms"; then
        echo "driver $1 is built in"
    else
        module_is_listed "$1"
    fi
}

module_is_listed() { # MODULE
    if grep -qs "/$1\.ko" "$root/lib/modules/$release/modules.dep" "$root/lib/modules/$release/modules.builtin"; then
        echo "module $1 can be loaded"
    else
        echo "no module $1 in /lib/modules/$release"
        return 1
    fi
}

# What the packet path attaches to: tcx since Linux 6.6, before that the qdisc clsact with the classifier bpf.
tc_is_there() {
    if grep -qs " tcx_prog_attach" "$root/proc/kallsyms"; then
        echo 'tcx'
        return
    fi
    lacking=
    for module in sch_ingress:clsact_init cls_bpf:cls_bpf_classify; do
        driver_is_there "${module%:*}" "${module#*:}" >/dev/null || lacking="$lacking ${module%:*}"
    done
    echo "${lacking:+no tcx, no}${lacking:-clsact}"
    [ -z "$lacking" ]
}

disk_is_free() {
    free=$(df -Pk . 2>/dev/null | sed -n '2s/^[^ ]* *[0-9]* *[0-9]* *\([0-9]*\) .*/\1/p')
    echo "$((${free:-0} / 1024)) MB are free here ($disk_mb are needed the first time)"
    [ $((${free:-0} / 1024)) -ge "$disk_mb" ]
}

memory_is_free() {
    free=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' "$root/proc/meminfo" 2>/dev/null)
    echo "$((${free:-0} / 1024)) MB are available ($memory_mb are needed)"
    [ $((${free:-0} / 1024)) -ge "$memory_mb" ]
}

apt_is_there() {
    command -v apt-get || {
        echo "no apt-get on PATH"
        return 1
    }
}

main "$@"
