# PCI devices for shell scripts in the guest of `outboard device test`; a script begins with ". device.sh".
#
#   device VENDOR DEVICE [N]  finds the device with these ids (four hexadecimal digits each; the N-th of them) and
#                             enables it; $device is its folder in sysfs, $bar0 ... $bar5 where its BARs are
#   get32 ADDRESS             prints the 32 bits there as 0x1234ABCD: a register is get32 $((bar0 + 0x10))
#   set32 ADDRESS VALUE       writes them
#   get8 get16 set8 set16     the same for 8 and 16 bits
#   irq_open                  from here on the line (INTx) is heard, by uio_pci_generic
#   irq_wait SECONDS          until it was raised; prints how often that was. The line is off from then until
#   irq_on                    which a handler calls when it made the device lower the line
#   expect WHAT GOT WANTED    ends the script when the numbers differ
#
# $dma_memory is the address of 1 MiB that Linux leaves alone, for the device to read and write.

dma_memory=0x8000000

fail()
{
	echo "$*"
	exit 1
}

device()
{
	_n=${3:-1}
	for device in /sys/bus/pci/devices/*; do
		[ "$(cat "$device/vendor" "$device/device" | tr '\n' ' ')" = "0x$1 0x$2 " ] && _n=$((_n - 1))
		[ $_n = 0 ] && break
	done
	[ $_n = 0 ] || fail "there is no device $1:$2"
	_ids="$1 $2"
	echo 1 >"$device/enable"
	_i=0
	while [ $_i -lt 6 ] && read -r _at _rest; do
		eval "bar$_i=$_at"
		_i=$((_i + 1))
	done <"$device/resource"
	irq_on
}

# Memory, bus master, and the line not disabled: the command register at offset 4.
irq_on()
{
	printf '\007\000' | dd of="$device/config" bs=1 seek=4 conv=notrunc 2>/dev/null
}

get8()  { devmem "$(printf %#x "$1")" 8; }
get16() { devmem "$(printf %#x "$1")" 16; }
get32() { devmem "$(printf %#x "$1")" 32; }
set8()  { devmem "$(printf %#x "$1")" 8 "$2"; }
set16() { devmem "$(printf %#x "$1")" 16 "$2"; }
set32() { devmem "$(printf %#x "$1")" 32 "$2"; }

irq_open()
{
	echo "$_ids" >/sys/bus/pci/drivers/uio_pci_generic/new_id 2>/dev/null
	_uio=$(ls "$device/uio" 2>/dev/null) || fail "the device has no interrupt line: uio_pci_generic does not take it"
	exec 3<"/dev/$_uio"
	irq_on
}

irq_wait()
{
	_count=$(exec 2>/dev/null; timeout "$1" dd bs=4 count=1 <&3 | od -A n -t u4)
	[ -n "$_count" ] || fail "no interrupt came within $1 seconds"
	echo $_count
}

expect()
{
	[ $(($2)) = $(($3)) ] || fail "$1 is $2, must be $3"
	echo "$1 is $2"
}
