#!/bin/bash
# Start ROOT's own systemd as process 1 of new namespaces, with this machine's network. As root: boot.sh ROOT
set -eu
group=/sys/fs/cgroup/unified; [ -d $group ] || group=/sys/fs/cgroup
mkdir -p "$group/bot-vps"; echo $$ > "$group/bot-vps/cgroup.procs"
export ROOT=$1
# shellcheck disable=SC2016
exec unshare --mount --pid --fork --uts --ipc --cgroup --mount-proc bash -euc '
mount --make-rprivate /
mount --bind "$ROOT" "$ROOT"; cd "$ROOT"
mount -t proc proc proc; mount -t sysfs -o ro sys sys; mount -t cgroup2 cgroup2 sys/fs/cgroup
for folder in run tmp dev; do mount -t tmpfs tmpfs $folder; done
for device in null zero full random urandom tty; do touch dev/$device; mount --bind /dev/$device dev/$device; done
mkdir -p dev/pts dev/shm old.root
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts; ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd
pivot_root . old.root; umount -l /old.root; mount --make-rshared /
exec env -i container=namespaces PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=multi-user.target
'
