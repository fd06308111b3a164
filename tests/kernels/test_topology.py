"""The topology of machines that are described by files: cores, nodes, kinds of cores, quotas, masks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import Topology, usable_cores
from tests.kernels import fake_machine


def test_two_sockets_with_siblings(tmp_path: Path) -> None:
    found = Topology.read(tmp_path, fake_machine.xeon(tmp_path))
    assert [cpu.core for cpu in found.cpus] == [*range(64), *range(64)]
    assert {cpu.node for cpu in found.cpus if cpu.core < 32} == {0}
    assert {cpu.node for cpu in found.cpus if cpu.core >= 32} == {1}
    assert found.quota is None
    assert (found.default_threads, found.most_threads) == (32, 128)
    assert found.order == tuple(range(128))  # node 0, node 1, then the siblings of both
    assert found.description(32) == (
        "32 threads: 32 physical cores of 1 node; not used: 32 physical cores, 64 SMT siblings of 2 nodes"
    )
    assert found.description(64) == "64 threads: 64 physical cores of 2 nodes"
    assert found.description(65) == "65 threads: 64 physical cores, 1 SMT sibling of 2 nodes"


def test_an_affinity_mask(tmp_path: Path) -> None:
    """The node with most usable cores comes first, and a sibling alone is a core."""
    fake_machine.xeon(tmp_path)
    found = Topology.read(tmp_path, [99, 5, 40, 41, 104, 6])
    assert [cpu.id for cpu in found.cpus] == [5, 6, 40, 41, 99, 104]
    assert found.order == (40, 41, 99, 5, 6, 104)
    assert (found.default_threads, found.most_threads) == (3, 6)
    assert found.cpus_for(2) == (40, 41)
    assert found.cpus_for(100) == found.order
    assert found.cpus_for(0) == found.cpus_for(-1) == ()


def test_performance_and_efficiency_cores_that_are_listed(tmp_path: Path) -> None:
    cpus = fake_machine.hybrid(tmp_path)
    fake_machine.write(tmp_path / "sys/devices/cpu_core/cpus", "0-15")
    fake_machine.write(tmp_path / "sys/devices/cpu_atom/cpus", "16-31")
    found = Topology.read(tmp_path, cpus)
    assert [cpu.efficiency for cpu in found.cpus] == [False] * 16 + [True] * 16
    assert (found.default_threads, found.most_threads) == (8, 32)
    assert found.order == (*range(0, 16, 2), *range(16, 32), *range(1, 16, 2))
    assert found.description(8) == (
        "8 threads: 8 performance cores of 1 node; not used: 16 efficiency cores, 8 SMT siblings"
    )
    assert found.description(9) == "9 threads: 8 performance cores, 1 efficiency core of 1 node"
    only = Topology.read(tmp_path, range(16, 20))
    assert only.default_threads == 4
    assert only.description(4) == "4 threads: 4 efficiency cores of 1 node"


@pytest.mark.parametrize(
    ("file", "fast", "slow", "differ"),
    [
        ("cpu_capacity", "1024", "600", True),
        ("cpufreq/cpuinfo_max_freq", "5200000", "3900000", True),
        ("cpu_capacity", "1024", "960", False),  # cores that the vendor prefers
    ],
)
def test_kinds_by_speed(tmp_path: Path, file: str, fast: str, slow: str, differ: bool) -> None:
    cpus = fake_machine.hybrid(tmp_path)
    for cpu in cpus:
        fake_machine.write(tmp_path / f"sys/devices/system/cpu/cpu{cpu}" / file, fast if cpu < 16 else slow)
    found = Topology.read(tmp_path, cpus)
    assert any(cpu.efficiency for cpu in found.cpus) == differ
    assert found.default_threads == (8 if differ else 24)


def test_a_speed_that_some_cpus_lack_is_not_compared(tmp_path: Path) -> None:
    cpus = fake_machine.hybrid(tmp_path)
    fake_machine.write(tmp_path / "sys/devices/system/cpu/cpu0/cpu_capacity", "1024")
    assert Topology.read(tmp_path, cpus).default_threads == 24


def test_a_container_with_two_and_a_half_cpus_of_64(tmp_path: Path) -> None:
    cpus = fake_machine.xeon(tmp_path)
    fake_machine.quota_2(tmp_path, {"": "250000 100000"})
    found = Topology.read(tmp_path, cpus)
    assert found.quota == 2.5
    assert (found.default_threads, found.most_threads) == (2, 3)
    assert found.description(2) == "2 threads: 2 physical cores of 1 node; the CPU quota is 2.5"
    assert found.description(1) == "1 thread: 1 physical core of 1 node"


@pytest.mark.parametrize("version", [1, 2])
def test_a_quota_below_one_cpu(tmp_path: Path, version: int) -> None:
    cpus = fake_machine.xeon(tmp_path)
    if version == 1:
        fake_machine.quota_1(tmp_path, {"": (50_000, 100_000)})
    else:
        fake_machine.quota_2(tmp_path, {"": "50000 100000"})
    found = Topology.read(tmp_path, cpus)
    assert found.quota == 0.5
    assert (found.default_threads, found.most_threads) == (1, 1)
    assert found.description(1) == "1 thread: 1 physical core of 1 node; the CPU quota is 0.5"


NESTED = {"": "max 100000", "pods": "700000 100000", "pods/a": "150000 50000", "pods/a/b": "max 100000"}


@pytest.mark.parametrize(
    ("group", "quota"),
    [("/pods/a/b", 3.0), ("/pods/a/", 3.0), ("/pods", 7.0), ("/", None), ("/elsewhere", None), ("/../pods/a", None)],
)
def test_nested_groups_of_version_2(tmp_path: Path, group: str, quota: float | None) -> None:
    fake_machine.quota_2(tmp_path, NESTED, group)
    assert Topology.read(tmp_path, range(64)).quota == quota


@pytest.mark.parametrize(
    ("group", "quota"), [("/docker/1", 1.5), ("/docker", 6.0), ("/", None), ("/docker/not-seen-inside", 6.0)]
)
@pytest.mark.parametrize("controllers", ["cpu,cpuacct", "cpuacct,cpu", "cpu"])
def test_nested_groups_of_version_1(tmp_path: Path, controllers: str, group: str, quota: float | None) -> None:
    limits = {"": (-1, 100_000), "docker": (600_000, 100_000), "docker/1": (75_000, 50_000)}
    fake_machine.quota_1(tmp_path, limits, group, controllers)
    assert Topology.read(tmp_path, range(64)).quota == quota


def test_a_container_that_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    fake_machine.quota_1(tmp_path, {"": (250_000, 100_000)}, "/docker/0123")
    assert Topology.read(tmp_path, range(64)).quota == 2.5


def test_version_2_next_to_version_1(tmp_path: Path) -> None:
    fake_machine.quota_1(tmp_path, {"": (400_000, 100_000)})
    fake_machine.write(tmp_path / "sys/fs/cgroup/unified/cpu.max", "300000 100000")
    assert Topology.read(tmp_path, range(64)).quota == 3.0


@pytest.mark.parametrize("text", ["", "max", "250000", "x y", "-1 100000", "100000 0", "0 100000", "nan 100000"])
def test_texts_that_set_no_limit(tmp_path: Path, text: str) -> None:
    fake_machine.quota_2(tmp_path, {"": text})
    assert Topology.read(tmp_path, range(64)).quota is None


def test_a_machine_that_says_nothing(tmp_path: Path) -> None:
    found = Topology.read(tmp_path, [3, 1])
    assert [(cpu.id, cpu.core, cpu.node, cpu.efficiency) for cpu in found.cpus] == [(1, 1, 0, False), (3, 3, 0, False)]
    assert (found.default_threads, found.most_threads, found.quota) == (2, 2, None)


@pytest.mark.parametrize("text", ["", "x", "0-", "-3", "5-2", "0-99999999999", "1,,2", "0-3-5;", "70000"])
def test_lists_that_are_not_valid_are_ignored(tmp_path: Path, text: str) -> None:
    fake_machine.write(tmp_path / "sys/devices/system/cpu/cpu0/topology/thread_siblings_list", text)
    fake_machine.write(tmp_path / "sys/devices/system/node/online", text)
    found = Topology.read(tmp_path, [0])
    assert (found.cpus[0].core, found.cpus[0].node, found.default_threads) == (0, 0, 1)


@pytest.mark.parametrize(
    ("cpus", "why"),
    [([], "at least one CPU"), ([1, 1], "CPU 1 is given twice"), ([-1], "from 0 to"), ([1 << 20], "from 0 to")],
)
def test_masks_that_are_not_valid(tmp_path: Path, cpus: list[int], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Topology.read(tmp_path, cpus)


@given(st.sets(st.integers(0, 127), min_size=1), st.none() | st.integers(1, 9000))
def test_what_holds_for_any_mask_and_quota(
    tmp_path_factory: pytest.TempPathFactory, mask: set[int], percent: int | None
) -> None:
    root = tmp_path_factory.mktemp("machine")
    fake_machine.xeon(root)
    if percent is not None:
        fake_machine.quota_2(root, {"": f"{percent * 1000} 100000"})
    found = Topology.read(root, mask)
    assert sorted(found.order) == sorted(mask)
    assert 1 <= found.default_threads <= found.most_threads <= len(mask)
    if percent is not None:
        assert found.default_threads <= max(1, percent // 100)
        assert found.most_threads <= max(1, -(-percent // 100))
    chosen = found.cpus_for(found.default_threads)
    assert len({cpu % 64 for cpu in chosen}) == len(chosen)  # physical cores
    assert len({cpu % 64 // 32 for cpu in chosen}) == 1  # one node
    physical = len({cpu % 64 for cpu in mask})
    assert len({cpu % 64 for cpu in found.order[:physical]}) == physical  # before siblings


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity masks")
def test_this_machine() -> None:
    found = Topology.read()
    assert {cpu.id for cpu in found.cpus} == os.sched_getaffinity(0)
    assert found.most_threads == usable_cores()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert (Topology.read().default_threads, usable_cores()) == (1, 1)
    finally:
        os.sched_setaffinity(0, before)
