"""The energy counters of the CPU: RAPL, as Linux shows it for Intel and AMD under /sys/class/powercap.

Only package domains count: the others (cores, memory controller of a package) are parts of one. The counters are those
of the whole machine, so the work of other processes is in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/class/powercap")


class EnergyUnavailable(RuntimeError):
    """The counters are absent or not readable. The message is one line with the reason."""


@dataclass(frozen=True)
class EnergyCounters:
    """Package domains.

    Attributes:
        domains: the counter file of each package, and the microjoules after which it starts at zero again.
    """

    domains: tuple[tuple[Path, int], ...]

    def read(self) -> tuple[int, ...]:
        """Returns the microjoules of each domain, from any origin.

        Raises:
            OSError, ValueError: a counter is no longer readable.
        """
        return tuple(int(path.read_text()) for path, _ in self.domains)

    def joules(self, before: tuple[int, ...], after: tuple[int, ...]) -> float:
        """Returns the energy between two readings, between which a counter may wrap once."""
        ranges = [wraps for _, wraps in self.domains]
        return sum((b - a) % (wraps + 1) for a, b, wraps in zip(before, after, ranges, strict=True)) * 1e-6


def counters(root: Path = ROOT) -> EnergyCounters:
    """Returns the counters of all packages.

    Raises:
        EnergyUnavailable: no counter exists, or this user may not read them.
    """
    domains = []
    for folder in sorted(root.glob("intel-rapl:*")):
        try:
            if not (folder / "name").read_text().startswith("package-"):
                continue
            int((folder / "energy_uj").read_text())
            domains.append((folder / "energy_uj", int((folder / "max_energy_range_uj").read_text())))
        except PermissionError:
            raise EnergyUnavailable(f"no permission to read {folder / 'energy_uj'}") from None
        except (OSError, ValueError):
            raise EnergyUnavailable(f"{folder} has no readable counter") from None
    if not domains:
        raise EnergyUnavailable(f"this system has no energy counters in {root}")
    return EnergyCounters(tuple(domains))
