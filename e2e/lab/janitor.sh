#!/bin/bash
# Outlives a lab's supervisor by a moment. Its standard input is a pipe that the supervisor holds open and
# never writes: end of file means the supervisor is gone, however it ended. Then whatever the kernel did not
# take with the hosts' namespaces goes: cgroups and files.
#   janitor.sh DIRECTORY CGROUP_NAME
dir=$1 group=$2
trap '' HUP INT TERM
read -r _ || true

groups() {
  local root
  for root in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ -d "$root/$group" ] && find "$root/$group" -depth -type d 2>/dev/null
  done
}
for _ in $(seq 1 200); do
  left=
  for g in $(groups); do
    [ -e "$g/freezer.state" ] && echo THAWED >"$g/freezer.state" 2>/dev/null
    while read -r pid; do [ "$pid" = 0 ] || kill -9 "$pid" 2>/dev/null; done <"$g/cgroup.procs"
    rmdir "$g" 2>/dev/null || left=1
  done
  [ -n "$left" ] || break
  # Exiting processes leave their groups in their own time, and cgroup v1 has no event to wait for.
  sleep 0.05
done
rm -rf --one-file-system "$dir"
