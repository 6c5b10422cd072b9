#!/bin/sh
# First process of the guest: mounts what a system needs, runs the payload's script, hands its results over, powers off.
# Disks: vda this system (changes are thrown away), vdb the payload (read-only), vdc the results (a tar archive).
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root
mountpoint -q /proc || mount -t proc proc /proc
mountpoint -q /sys || mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /dev/shm
ip link set lo up 2>/dev/null
/lib/systemd/systemd-udevd --daemon 2>/dev/null
echo 'guest: started'
modprobe zfs && /bin/sh /payload/run.sh
echo "guest: ended with $?"
tar -cf /dev/vdc -C /results .
sync
echo o > /proc/sysrq-trigger
sleep 60
