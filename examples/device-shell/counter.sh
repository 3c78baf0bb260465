#!/bin/sh
# A PCI device in POSIX shell, by the text form of docs/device-protocol.md:
#
#     outboard run --device exec:./counter.sh -- qemu-system-x86_64 ...
#
#   0x0  read: how often it was read, from `start` on (--device exec:./counter.sh,start=5)
#   0x4  an LED: what is written is told in the daemon's log, and read back
#   0x8  write 1: INTx up, 0: INTx down; read: the line's level

start=0 count=0 led=0 level=0

number() {	# KEY: its value in $line, which Outboard writes without blanks
	case $line in
	*"\"$1\":"*) rest=${line#*\""$1"\":}; rest=${rest#\"}; echo "${rest%%[!0-9]*}" ;;
	esac
}

answer() {
	echo "{\"op\":\"done\",\"id\":$(number id)$1}"
}

while IFS= read -r line; do
	case $line in
	'{"op":"hello",'*)
		start=$(number start); start=${start:-0}
		echo '{"op":"describe","protocol":1,"name":"counter","vendor":"0x1af4","device":"0x10f0","intx":1,' \
			'"bars":[{"index":0,"size":4096}],' \
			'"properties":[{"name":"start","type":"uint","max":1000000,"help":"where it begins to count"}]}' ;;
	'{"op":"reset",'*)
		count=$start led=0 level=0
		answer '' ;;
	'{"op":"read",'*)
		case $(number offset) in
		0) count=$((count + 1)); answer ",\"value\":$count" ;;
		4) answer ",\"value\":$led" ;;
		8) answer ",\"value\":$level" ;;
		*) answer ',"value":0' ;;
		esac ;;
	'{"op":"write",'*)
		case $(number offset) in
		4) led=$(number value); echo "the LED is $led" >&2 ;;
		8) level=$(($(number value) & 1)); echo "{\"op\":\"irq\",\"level\":$level}" ;;
		esac ;;
	esac
done
