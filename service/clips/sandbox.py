"""What a decoding child gives up before it looks at a stranger's bytes.

Owns the limits of the process: it dies with its parent, has no network, no capabilities, writes no file, opens few, starts no
process, and has its memory and CPU time bounded. Does not own which containers may be opened (`capture/container.py`), or how a
system does these things and which of them it cannot (`capture/operating_system.py`): what it does not permit is left out, and
`confine` says whether the network is gone.
"""

from __future__ import annotations

from capture import operating_system

MAX_FILES = 64
CPU_S = 1800


def confine(parent: int, memory_bytes: int) -> bool:
    """Give up what decoding does not need; return whether the network is gone. `parent`: pid of who must be alive.

    `memory_bytes`: address space. Call it when everything is imported.
    """
    operating_system.end_with(parent)
    offline = operating_system.drop_network()
    for kind, most in (("AS", memory_bytes), ("CPU", CPU_S), ("FSIZE", 0), ("NOFILE", MAX_FILES), ("NPROC", 0), ("CORE", 0)):
        operating_system.limit(kind, most)
    operating_system.drop_privileges()
    return offline
