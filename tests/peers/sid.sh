#!/bin/sh
# Make the chroot with the programs of Debian's unstable release (sid) that `pytest -m sid tests/peers` runs.
#
#   tests/peers/sid.sh                make it where it isn't there (2 minutes, 1 GB; as root)
#   tests/peers/sid.sh --again        make it anew
#   tests/peers/sid.sh --stale        the mirror's index may be past its date (a mirror that stands still)
#   tests/peers/sid.sh --remove       remove it
#
# Ends with 1, and says why, where it cannot be made.
set -u

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/vhostspy
SID=$CACHE/sid
PROGRAMS=qemu-system-x86,qemu-utils,seabios,virtiofsd,passt,libblkio-dev,gcc,libc6-dev,vhost-device-vsock,socat,tshark
# qemu-system-gui holds vhost-user-gpu, and needs 160 packages for the rest of it: this library is enough
GPU=libvirglrenderer1
DPDK=dpdk-dev,librte-net-vhost26,librte-net-virtio26,librte-mempool-ring26,librte-bus-vdev26

say() { printf 'tests/peers/sid.sh: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

again=false stale=false remove=false
for option; do
    case $option in
        --again) again=true ;;
        --stale) stale=true ;;
        --remove) remove=true ;;
        *) fail "unknown option $option (there are --again, --stale and --remove)" ;;
    esac
done

# Nothing may be mounted in there when it is removed. The tests mount into it only in mount namespaces of their own.
remove_chroot() {
    grep -q " $1/" /proc/self/mounts && fail "something is mounted in $1: unmount it first"
    rm -rf --one-file-system "$1"
}

if $remove; then
    remove_chroot "$SID"
    exit 0
fi
[ -d "$SID" ] && ! $again && exit 0
[ "$(id -u)" -eq 0 ] || fail 'needs root'
command -v mmdebstrap >/dev/null || apt-get -qq -y --no-install-recommends install mmdebstrap >/dev/null 2>&1
command -v mmdebstrap >/dev/null || fail 'needs mmdebstrap (Debian package mmdebstrap), which cannot be installed here'

mkdir -p "$CACHE"
log=$CACHE/sid.log
part=$SID.part
remove_chroot "$part"
say "making $SID (2 minutes)"
# while the package lists are still there
gpu='cd /tmp && apt-get -qq -o APT::Sandbox::User=root download qemu-system-gui && dpkg -x qemu-system-gui_*.deb gui &&
    cp gui/usr/lib/qemu/vhost-user-gpu /usr/lib/qemu/; rm -rf /tmp/gui /tmp/*.deb'
set -- --variant=minbase --include="$PROGRAMS,$GPU,$DPDK,linux-image-amd64" --customize-hook="chroot \"\$1\" sh -c '$gpu'"
$stale && set -- "$@" --aptopt='Acquire::Check-Valid-Until "false"'
if ! mmdebstrap "$@" sid "$part" >"$log" 2>&1; then
    grep -E '^(E|Err|W):' "$log" >&2
    remove_chroot "$part"
    grep -qi 'is expired' "$log" && say "the mirror's index is past its date: --stale accepts it"
    fail "cannot make a sid chroot here; all of it is in $log"
fi
[ -x "$part/usr/lib/qemu/vhost-user-gpu" ] || say 'no vhost-user-gpu to be had: its test will skip'
remove_chroot "$SID"
mv "$part" "$SID"
