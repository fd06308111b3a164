"""Writes the files of /sys and /proc that describe a machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def cores(root: Path, siblings: Sequence[Sequence[int]]) -> None:
    """Writes the physical cores: the logical CPUs of each."""
    for of_core in siblings:
        for cpu in of_core:
            folder = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
            write(folder / "thread_siblings_list", ",".join(map(str, of_core)))


def nodes(root: Path, lists: Sequence[str]) -> None:
    """Writes the lists of CPUs of NUMA nodes."""
    write(root / "sys/devices/system/node/online", f"0-{len(lists) - 1}" if len(lists) > 1 else "0")
    for node, cpus in enumerate(lists):
        write(root / f"sys/devices/system/node/node{node}/cpulist", cpus)


def xeon(root: Path) -> range:
    """Two sockets of 32 cores with two siblings each, numbered as Linux does; returns all CPUs."""
    cores(root, [(core, core + 64) for core in range(64)])
    nodes(root, ["0-31,64-95", "32-63,96-127"])
    return range(128)


def hybrid(root: Path) -> range:
    """8 performance cores with two siblings each, then 16 efficiency cores; returns all CPUs."""
    cores(root, [*((2 * core, 2 * core + 1) for core in range(8)), *((cpu,) for cpu in range(16, 32))])
    nodes(root, ["0-31"])
    return range(32)


def quota_2(root: Path, limits: dict[str, str], group: str = "/") -> None:
    """Writes control groups of version 2: ``cpu.max`` by folder; ``group`` is that of the process."""
    write(root / "proc/self/cgroup", f"0::{group}")
    for folder, limit in limits.items():
        write(root / "sys/fs/cgroup" / folder / "cpu.max", limit)


def quota_1(root: Path, limits: dict[str, tuple[int, int]], group: str = "/", controllers: str = "cpu,cpuacct") -> None:
    """Writes control groups of version 1: quota and period in microseconds by folder."""
    write(root / "proc/self/cgroup", f"4:memory:/other\n2:{controllers}:{group}\n1:name=systemd:/")
    for folder, (quota, period) in limits.items():
        write(root / "sys/fs/cgroup/cpu" / folder / "cpu.cfs_quota_us", str(quota))
        write(root / "sys/fs/cgroup/cpu" / folder / "cpu.cfs_period_us", str(period))
