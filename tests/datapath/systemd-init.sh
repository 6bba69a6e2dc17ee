#!/bin/sh
# Becomes systemd as PID 1 of a machine of its own: systemd-init.sh HOME, in new mount, pid, cgroup, uts, ipc and network
# namespaces. Its root is an overlay over the machine's, so it has the same programs, and its files go with HOME.
set -eu
home=$1

mount -t tmpfs tmpfs "$home"
mkdir "$home/upper" "$home/work" "$home/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$home/upper,workdir=$home/work" "$home/root"
cd "$home/root"
mount -t proc proc proc
# systemd sets values of the whole machine (fs.file-max, fs.protected_*) where it may; those of our network are ours.
mount --bind proc/sys proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,ro proc/sys
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup # in the new cgroup namespace: its root is ours
mount -t tmpfs -o mode=0755 run run
mount -t tmpfs tmp tmp
mount -t tmpfs -o mode=0755 dev dev
for device in null zero full random urandom tty; do
    : >"dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
ln -s /proc/self/fd dev/fd
# Nothing of the machine's own is started: one target that wants nothing.
rm -rf etc/systemd/system etc/systemd/network
mkdir -p etc/systemd/system
printf '[Unit]\nDescription=Nothing\nDefaultDependencies=no\n' >etc/systemd/system/nothing.target

mkdir run/host
pivot_root . run/host
umount -l /run/host
cd /
exec env -i container=socklb PATH=/usr/sbin:/usr/bin:/sbin:/bin /usr/lib/systemd/systemd --unit=nothing.target \
    --log-target=console --show-status=no </dev/null
