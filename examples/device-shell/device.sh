#!/bin/sh
# A PCI device in shell: outboard device info exec:examples/device-shell/device.sh,start=5
#
# BAR 0: at 0 a counter (4 bytes) that goes up with each read and can be written, at 4 LEDs, whose writes are logged.
# Outboard writes its keys in a fixed order and without blanks (docs/device-protocol.md), so lines are cut by pattern.

start=0 count=0 leds=0

number() { # the integer behind "KEY": in $line
	rest=${line#*\"$1\":}
	echo "${rest%%[,\}]*}"
}

done_() { # the answer to the request in $line, with a value if one is given
	echo "{\"op\":\"done\",\"id\":$(number id)${1:+,\"value\":$1}}"
}

while read -r line; do
	case $line in
	'{"op":"hello",'*)
		case $line in
		*'"start":"'*) start=${line#*\"start\":\"} start=${start%%\"*} ;;
		esac
		echo '{"op":"describe","protocol":1,"name":"counter","vendor":"0x1af4","device":"0x10f0",' \
			'"help":"counts its reads","bars":[{"index":0,"size":4096}],' \
			'"properties":[{"name":"start","type":"uint","max":1000000,"default":0,"help":"first count"}]}'
		;;
	'{"op":"reset",'*)
		count=$start leds=0
		done_
		;;
	'{"op":"read",'*'"offset":0,'*)
		done_ "$count"
		count=$((count + 1))
		;;
	'{"op":"read",'*'"offset":4,'*) done_ "$leds" ;;
	'{"op":"read",'*) done_ 0 ;;
	'{"op":"write",'*'"offset":0,'*) count=$(number value) ;;
	'{"op":"write",'*'"offset":4,'*)
		leds=$(number value)
		echo "{\"op\":\"log\",\"level\":\"warn\",\"text\":\"the LEDs show $leds\"}"
		;;
	esac
done
