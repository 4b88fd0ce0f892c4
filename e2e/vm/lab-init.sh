#!/bin/bash
# First process of the test machine: a pure cgroup v2 system with nothing running. Mounts what a system has,
# runs /repo/.cache/vm/command.sh, prints its exit code on the console and powers off.
export PATH=/opt/node/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /run /repo-ro /repo /var/vm/upper /var/vm/work
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# A process outside the root group's way, so that controllers can be handed down from it.
echo "+cpu +cpuset +io +memory +pids" >/sys/fs/cgroup/cgroup.subtree_control
# What is run, and what it is mounted with, where SELinux is on: the test is a container runtime, its files are programs.
RUNCON=() LABEL=
if mount -t selinuxfs selinuxfs /sys/fs/selinux 2>/dev/null; then
  load_policy -i
  RUNCON=(runcon system_u:system_r:container_runtime_t:s0) LABEL=,context=system_u:object_r:usr_t:s0
fi
mount -o "ro$LABEL" /dev/nvme1n1 /repo-ro
mount -t overlay overlay -o "lowerdir=/repo-ro,upperdir=/var/vm/upper,workdir=/var/vm/work$LABEL" /repo
hostname vm
ip link set lo up
# The tests' links and rules need what a stock kernel keeps in modules.
modprobe -a overlay bridge veth vxlan nf_tables nft_chain_nat nft_masq nft_redir nft_ct nft_numgen nf_conntrack nf_conntrack_netlink br_netfilter 2>/dev/null
cd /repo
export LD_LIBRARY_PATH=/repo/.cache/vm/lib
# The serial console is no terminal to draw on.
export CI=true NO_COLOR=1
# Which tests are run here, and which of several machines this is: 1/2.
PROJECT=$(sed -n 's/.* project=\([^ ]*\).*/\1/p' /proc/cmdline)
SHARE=$(sed -n 's/.* share=\([^ ]*\).*/\1/p' /proc/cmdline)
export PROJECT SHARE
# Through a pipe: programs that see a terminal draw on it, and the serial line is slow.
"${RUNCON[@]}" bash /repo/.cache/vm/command.sh </dev/null 2>&1 | cat
echo "LAB-EXIT ${PIPESTATUS[0]}"
sync
echo o >/proc/sysrq-trigger
while :; do sleep 1; done
