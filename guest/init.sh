#!/bin/sh
# The first program of the guest that `outboard device test` starts: runs /test/run, reports, powers off.
# The second serial port carries what the test prints, and at last "\001exit STATUS"; the first is the console.
export PATH=/usr/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
while read -r module; do
	insmod "$module" || echo "init: $module cannot be loaded"
done </modules
stty -F /dev/ttyS1 raw -echo
cd /test && ./run </dev/null >/dev/ttyS1 2>&1
printf '\001exit %d\n' $? >/dev/ttyS1
poweroff -f
