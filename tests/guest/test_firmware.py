"""SeaBIOS, OVMF and GRUB's own drivers on the IDE and AHCI controllers: they boot and read."""

import firmware
import outboard
import pytest


@pytest.fixture(name="media", scope="module")
def fixture_media(tmp_path_factory):
    """(disc, its hash, disk, its hash)."""
    work = tmp_path_factory.mktemp("media")
    return (*firmware.make_disc(work), *firmware.make_disk(work))


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


@pytest.mark.parametrize("bus", ["ahci", "ide"])
def test_seabios_boots_the_disc(guest_dir, media, bus):
    """El Torito; then GRUB reads a file by the BIOS, and by its own driver."""
    disc, wanted, _, _ = media
    with Booted(guest_dir, bus, discs=[disc]) as machine:
        machine.serial.expect("grub> ")
        assert machine.grub_hash("/data.bin") == wanted
        machine.grub(f"nativedisk {'ahci' if bus == 'ahci' else 'pata'}")
        machine.grub("search --file --set=root /data.bin")
        assert "hd" not in machine.grub("echo [$root]", r"\[(.*)\]")[1]
        assert machine.grub_hash("/data.bin") == wanted
        assert "DVD/CD [" in machine.bios_log()


@pytest.mark.parametrize("bus", ["ahci", "ide"])
def test_seabios_boots_the_disk(guest_dir, media, bus):
    """The first sector; then sectors by the BIOS, and by GRUB's own driver."""
    _, _, disk, wanted = media
    with Booted(guest_dir, bus, disks=[disk]) as machine:
        machine.serial.expect("grub> ")
        blocks = f"{firmware.DATA_SECTOR}+{firmware.DATA // 512}"
        assert machine.grub_hash(f"(hd0){blocks}") == wanted
        machine.grub(f"nativedisk {'ahci' if bus == 'ahci' else 'pata'}")
        name = "ahci0" if bus == "ahci" else "ata0"
        assert machine.grub_hash(f"({name}){blocks}") == wanted


@pytest.mark.parametrize("bus", ["ahci", "ide"])
def test_ovmf_boots_the_disc(guest_dir, media, bus):
    """A UEFI disc; GRUB reads its file by the firmware's driver."""
    disc, wanted, _, _ = media
    with Booted(guest_dir, bus, discs=[disc], uefi=True) as machine:
        machine.serial.expect("grub> ")
        assert machine.grub("echo [$grub_platform]", r"\[(\w+)\]")[1] == "efi"
        assert machine.grub_hash("/data.bin") == wanted
