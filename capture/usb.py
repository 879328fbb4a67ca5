"""Which V4L2 device is which: by the serial number of its USB device, for /dev/video numbers change when one is plugged in again.

Owns reading the kernel's tree under /sys. Does not own opening a camera (`drivers/webcam.py`).
"""

from __future__ import annotations

from pathlib import Path

TREE = Path("/sys/class/video4linux")


def serial_of(device: Path, tree: Path = TREE) -> str | None:
    """Return the USB serial number of a /dev/video* (or a link to one), None if it has none."""
    node = tree / Path(device).resolve().name / "device"
    try:
        folder = node.resolve(strict=True)
    except OSError:
        return None
    # `device` is the interface; the serial number is its parent's.
    for place in (folder, folder.parent):
        try:
            return (place / "serial").read_text(encoding="utf-8", errors="replace").strip() or None
        except OSError:
            continue
    return None


def device_of(serial: str, tree: Path = TREE) -> Path | None:
    """Return the first /dev/video* that is of the device with this serial number and takes pictures, None if there is none."""
    for node in sorted(tree.glob("video*"), key=lambda path: (len(path.name), path.name)):
        try:
            # A camera has more nodes than one; the first takes pictures, others give metadata.
            first = (node / "index").read_text(encoding="ascii").strip() == "0"
        except OSError:
            continue
        if first and serial_of(node, tree) == serial:
            return Path("/dev") / node.name
    return None
