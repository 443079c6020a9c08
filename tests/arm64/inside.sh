#!/bin/sh
# Runs a command in an arm64 root file system, under qemu's user emulation.
#
#   unshare --user --map-root-user --mount sh inside.sh ROOT QEMU CPU CPUINFO PACKAGES EDGESEG PROOF COMMAND…
#
# What it mounts and registers belongs to the namespaces that unshare made, and is gone with the last process:
# nothing of the machine itself is changed, and so nothing has to be undone.
set -eu
root=$1 qemu=$2 cpu=$3 cpuinfo=$4 packages=$5 edgeseg=$6 proof=$7
shift 7

# The kernel is to start qemu for every arm64 program, also for those that edgeseg starts itself: the trial of a
# model runs in a process of its own. "F" opens qemu now, so that it need not be in the root. Since Linux 6.7 a
# user namespace may have a registry of its own; before, the machine's has to know arm64 already.
if mount -t binfmt_misc none "$root/binfmt" 2>/dev/null; then
    header='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    printf '%s' ":edgeseg-arm64:M::$header:$mask:$qemu:F" >"$root/binfmt/register"
fi

mount --rbind /proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
# qemu hands on the PC's list of cores. The runtimes look for Arm's in it, and end by SIGSEGV without.
mount --bind "$cpuinfo" "$root/proc/cpuinfo"
mount --bind "$packages" "$root/opt/packages"
mount --bind "$edgeseg" "$root/opt/edgeseg"
mount --bind "$proof" "$root/proof"

exec env -i HOME=/tmp PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 COLUMNS=110 QEMU_CPU="$cpu" \
    PYTHONPATH=/opt/edgeseg:/opt/packages PYTHONDONTWRITEBYTECODE=1 /usr/sbin/chroot "$root" "$@"
