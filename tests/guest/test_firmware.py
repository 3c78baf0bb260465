"""SeaBIOS, OVMF and GRUB's own drivers on the IDE and AHCI controllers: they boot and read."""

import firmware
import outboard
import pytest


@pytest.fixture(name="disc", scope="module")
def fixture_disc(tmp_path_factory):
    """(a disc, the hash of its file)."""
    return firmware.make_disc(tmp_path_factory.mktemp("media"))


class Booted:
    """A daemon with a controller, and a machine that has it."""

    def __init__(self, work, bus, discs=(), disks=(), **machine):
        self.daemon = outboard.Outboard(work, discs, bus=bus, disks=disks)
        self.work, self.options = work, machine
        self.machine = None

    def __enter__(self):
        self.daemon.start()
        try:
            self.machine = firmware.Machine(self.work, self.daemon.guest_options()["args"], **self.options)
            return self.machine.__enter__()
        except BaseException:
            self.daemon.close()
            raise

    def __exit__(self, *unused):
        self.machine.__exit__()
        self.daemon.close()


@pytest.mark.matrix("boots the disc (El Torito); GRUB reads by the BIOS and by its own driver",
                    consumer="SeaBIOS and GRUB")
@pytest.mark.parametrize("bus", ["ahci", "ide"])
def test_seabios_boots_the_disc(guest_dir, disc, bus):
    """El Torito; then GRUB reads a file by the BIOS, and by its own driver."""
    path, wanted = disc
    with Booted(guest_dir, bus, discs=[path]) as machine:
        machine.serial.expect("grub> ")
        assert machine.grub_hash("/data.bin") == wanted
        machine.grub(f"nativedisk {'ahci' if bus == 'ahci' else 'pata'}")
        machine.grub("search --file --set=root /data.bin")
        assert not machine.grub("echo root=[$root]", r"root=\[(\S+)\]")[1].startswith("hd")
        assert machine.grub_hash("/data.bin") == wanted
        assert "DVD/CD [" in machine.bios_log()


@pytest.mark.matrix("boots the disk; GRUB reads by the BIOS and by its own driver",
                    consumer="SeaBIOS and GRUB")
@pytest.mark.parametrize("bus,native", [("ahci", ""), ("ahci", "ahci"), ("ide", ""), ("ide", "pata")])
def test_seabios_boots_the_disk(guest_dir, bus, native):
    """The first sectors; then others by the BIOS, or by GRUB's own driver."""
    path, wanted = firmware.make_disk(guest_dir, native)
    name = {"": "hd0", "ahci": "ahci0", "pata": "ata0"}[native]
    with Booted(guest_dir, bus, disks=[path]) as machine:
        machine.serial.expect("grub> ")
        blocks = f"{firmware.DATA_SECTOR}+{firmware.DATA // 512}"
        assert machine.grub_hash(f"({name}){blocks}") == wanted


@pytest.mark.matrix("boots the disc; GRUB reads by the firmware",
                    consumer="OVMF and GRUB")
@pytest.mark.parametrize("bus", ["ahci", pytest.param("ide", marks=pytest.mark.full)])   # by PIO: minutes
def test_ovmf_boots_the_disc(guest_dir, disc, bus):
    """A UEFI disc; GRUB reads its file by the firmware's driver."""
    path, wanted = disc
    with Booted(guest_dir, bus, discs=[path], uefi=True) as machine:
        machine.serial.expect(r"platform=\[efi\]")
        assert machine.serial.expect(r"([0-9a-f]{64}) ")[1] == wanted
        machine.serial.expect("grub> ")
