#!/bin/sh
# Builds the guest of the ZFS campaign once: Debian bookworm with OpenZFS from contrib, compiled for its kernel.
# Usage: unshare --mount sh build-image.sh FOLDER, so that no mount outlives it. Leaves FOLDER/disk.img, vmlinuz, initrd.img and versions.txt; needs root, mmdebstrap, mkfs.ext4.
set -eu

folder=$1
root=$folder/root
rm -rf --one-file-system "$root"
mkdir -p "$folder"

mmdebstrap --mode=root --variant=minbase --components=main,contrib --aptopt='Acquire::Retries "3"' \
  --include=linux-image-cloud-amd64,linux-headers-cloud-amd64,initramfs-tools,kmod,udev,dkms,e2fsprogs,libatomic1 \
  bookworm "$root" http://deb.debian.org/debian

# The running kernel is the host's: dkms is told which one to build for.
kernel=$(ls "$root/lib/modules")
cp /etc/resolv.conf "$root/etc/resolv.conf"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
chroot "$root" apt-get update
chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
  apt-get install --yes --no-install-recommends -o Dpkg::Use-Pty=0 zfs-dkms zfsutils-linux
if [ -z "$(find "$root/lib/modules/$kernel" -name 'zfs.ko*')" ]; then
  module=zfs/$(ls "$root/usr/src" | sed -n 's/^zfs-//p')
  chroot "$root" dkms add "$module" || true
  chroot "$root" dkms build "$module" -k "$kernel"
  chroot "$root" dkms install "$module" -k "$kernel"
fi
umount "$root/dev" "$root/proc"
test -n "$(find "$root/lib/modules/$kernel" -name 'zfs.ko*')"

{
  echo "debian $(cat "$root/etc/debian_version")"
  echo "kernel $kernel"
  chroot "$root" dpkg-query --show --showformat '${Package} ${Version}\n' zfs-dkms zfsutils-linux
} > "$folder/versions.txt"

cp "$root"/boot/vmlinuz-* "$folder/vmlinuz"
cp "$root"/boot/initrd.img-* "$folder/initrd.img"
# The rest of the start comes with the payload, so that a change there needs no new disk.
printf '%s\n' '#!/bin/sh' 'mount -t ext4 -o ro /dev/vdb /payload' 'exec /bin/sh /payload/init.sh' > "$root/sbin/campaign-init"
chmod 0755 "$root/sbin/campaign-init"
mkdir -p "$root/payload" "$root/results"
rm -rf "$root/etc/resolv.conf" "$root"/usr/src/linux-headers* "$root"/usr/share/doc "$root"/usr/share/man "$root"/usr/share/locale \
  "$root"/var/cache/apt "$root"/var/lib/apt/lists "$root"/usr/lib/gcc "$root"/var/lib/dkms "$root"/boot/*
mkfs.ext4 -q -F -L guest -d "$root" "$folder/disk.part" 4G
rm -rf --one-file-system "$root"
mv "$folder/disk.part" "$folder/disk.img"
