#!/bin/sh
# What busybox's udhcpc calls with an answer: set address and default route from it.
case $1 in
    bound | renew)
        ip addr flush dev "$interface"
        ip addr add "$ip/${mask:-24}" dev "$interface"
        if [ -n "$router" ]; then
            ip route add "$router" dev "$interface" 2>/dev/null
            ip route add default via "$router"
        fi
        echo "DHCP $ip by $router"
        ;;
esac
