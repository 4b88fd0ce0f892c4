#!/bin/bash
# Pid 1 of one lab host, in network, mount, pid, uts and ipc namespaces of its own. Killing it is a power
# cut: the kernel takes every process, mount and link of the host with it.
#   host-init.sh NAME RUN_DIR READY_FILE
set -euo pipefail
name=$1 run=$2 ready=$3
mount --make-rprivate /
mount -t proc proc /proc
# A sysfs of this network namespace, with the machine's cgroup mounts carried over it: a bare new
# sysfs would hide them all.
mkdir -p "$run/.cgroup"
mount --rbind /sys/fs/cgroup "$run/.cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$run/.cgroup" /sys/fs/cgroup
umount -l "$run/.cgroup" && rmdir "$run/.cgroup"
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/tessera /run/lock
mount --bind "$run" /run/tessera
hostname "$name"
ip link set lo up
: >"$ready"
# Waits for ever, reaping what is orphaned to it: bash reaps every child it is given. The read blocks
# on a pipe that nobody writes, so nothing wakes it but signals.
trap : CHLD
mkfifo /run/never
while :; do read -r _ <>/run/never || true; done
