#!/bin/sh
# Makes the mounts of a node and becomes its PID 1. Called by container.py in the node's new namespaces:
#   netns-node-init.sh start HOME NODE      prints PID 1's number on the host, then "ready"
# Every mount here is private to the node: unshare(1) stops propagation, so that the host's mount table is unchanged.
set -eu

if [ "$1" = start ]; then
    # A new pid namespace contains only children: the first is its PID 1; this shell stays outside and knows its pid there.
    sh "$0" init "$2" "$3" &
    echo $!
    exit
fi
home=$2 node=$3

echo "$node" >/proc/sys/kernel/hostname # the host's /proc: kernel.hostname is that of the reader's namespace
mount -t overlay socklb -o "lowerdir=/,upperdir=$home/upper,workdir=$home/work" "$home/root"
cd "$home/root"

# What the node shares with the host is read-only: all of /sys, and all sysctls except those of its network.
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup # in the new cgroup namespace: the node's cgroup is the root
mount -t bpf bpf sys/fs/bpf -o mode=0700

mount -t tmpfs -o mode=0755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mkdir run/lock run/netns run/socklb

mount -t tmpfs -o mode=0755 dev dev
for device in null zero full random urandom tty; do
    : >"dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for stream in stdin:0 stdout:1 stderr:2; do ln -s "/proc/self/fd/${stream#*:}" "dev/${stream%:*}"; done

echo "$node" >etc/hostname
printf '%s\n' '127.0.0.1 localhost' '::1 localhost' >etc/hosts
rm -f etc/resolv.conf # often a link into the host's /run
: >etc/resolv.conf    # a sealed node has no name server

mkdir run/host
pivot_root . run/host
umount -l /run/host
rmdir /run/host
cd /
command -v tini >/dev/null || { echo "tini is not installed. Remedy: apt-get install tini"; exit 1; }
echo ready
exec tini -- sleep infinity </dev/null >/dev/null 2>&1
