#!/bin/sh
# Install the programs that the tests put vhostspy between, give its captures to, or show its screen in: Debian packages,
# and a guest kernel.
#
#   tests/peers/install.sh            install what is missing (needs root and apt-get), say nothing if nothing is
#   tests/peers/install.sh --check    only say what is missing
#
# Ends with 0 also where something cannot be had: the tests that need it then skip and name it. The kernel is only
# unpacked, into a cache folder, never installed.
set -u

# a service or a container may have no HOME
CACHE=${XDG_CACHE_HOME:-${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}/.cache}/vhostspy
# a machine that has just started may be busy with upgrades of its own; a mirror may be away for a moment
PATIENCE='-o DPkg::Lock::Timeout=300 -o Acquire::Retries=3'
PACKAGES='qemu-system-x86 seabios busybox-static gcc libc6-dev dpdk-dev tshark tmux lua5.4'
# drivers of dpdk-testpmd; the packages' names end in DPDK's ABI version, so a pattern finds them
DRIVERS='librte-net-vhost librte-net-virtio librte-mempool-ring librte-bus-vdev'

say() { printf 'tests/peers/install.sh: %s\n' "$*" >&2; }

installed() {
    case "$(dpkg-query -W -f '${db:Status-Abbrev}\n' "$1" 2>/dev/null)" in *ii*) return 0 ;; esac
    return 1
}

missing_packages() {
    for package in $PACKAGES; do installed "$package" || echo "$package"; done
    for driver in $DRIVERS; do installed "$driver[0-9]*" || echo "$driver"; done
}

# the package with the highest number behind a driver's name
newest() {
    apt-cache search --names-only "^$1[0-9]+\$" | sed "s/^$1\([0-9]*\) .*/\1/" | sort -n | tail -n 1 | sed "s/^/$1/"
}

get() {
    # shellcheck disable=SC2086  # a list of options
    DEBIAN_FRONTEND=noninteractive apt-get -qq $PATIENCE -y --no-install-recommends install "$@" >>"$log" 2>&1
}

fetch_kernel() {
    package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    [ -n "$package" ] || { say 'no package linux-image-cloud-amd64 here; tests with a Linux guest will skip'; return; }
    work=$CACHE/kernel.part.$$
    mkdir -p "$work" && chmod 0755 "$work"
    if (cd "$work" && apt-get -qq $PATIENCE -o APT::Sandbox::User=root download "$package" && dpkg -x ./*.deb . && rm ./*.deb) \
        >"$work.log" 2>&1; then
        rm -rf "$CACHE/kernel" && mv "$work" "$CACHE/kernel" && rm -f "$work.log"
    else
        say "cannot fetch $package; tests with a Linux guest will skip:"
        cat "$work.log" >&2
        rm -rf "$work" "$work.log"
    fi
}

if ! command -v dpkg-query >/dev/null; then
    say 'no Debian here: install QEMU, qemu-storage-daemon, virtiofsd and dpdk-testpmd by your own means'
    exit 0
fi

missing=$(missing_packages | tr '\n' ' ')
ls "$CACHE"/kernel/boot/vmlinuz-* >/dev/null 2>&1 && kernel='' || kernel=linux-image-cloud-amd64
[ -z "$missing$kernel" ] && exit 0

if [ "${1-}" = --check ] || [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    say "missing (install as root): $missing$kernel"
    exit 0
fi

mkdir -p "$CACHE"
log=$CACHE/install.log
apt-get -qq $PATIENCE update >"$log" 2>&1 || say "apt-get update failed, going on with the old lists (see $log)"
if [ -n "$missing" ]; then
    wanted=
    for package in $missing; do
        case " $DRIVERS " in *" $package "*) package=$(newest "$package") ;; esac
        wanted="$wanted $package"
    done
    say "installing$wanted"
    # shellcheck disable=SC2086  # a list of names
    if ! get $wanted; then
        # one that this release does not have keeps none of the others away
        for package in $wanted; do get "$package" || say "cannot install $package (see $log)"; done
    fi
fi
[ -n "$kernel" ] && fetch_kernel
exit 0
