"""Checks that no other distribution uses the import names of this project.

``kernels`` and ``graph_passes`` each have a copy of this file, because neither imports the other.
"""

from __future__ import annotations

import os
import sys

NAMES = ("autotune", "compiler", "graph_passes", "kernels", "optimizer", "serving")


def check_names(importer: str) -> None:
    """Searches ``sys.path`` for distributions that are named as a package of this project.

    Such a distribution, as ``kernels`` on PyPI, installs a package of the same name. In one environment, the files of
    the distribution installed last overwrite those of the other. The search lists a few directories, which takes less
    than a millisecond; ``importlib.metadata`` would take 20.

    Args:
        importer: the package that is being imported. With its name in the error, ``python -m`` prints one line instead
            of a traceback.

    Raises:
        ImportError: there is one.
    """
    for folder in sys.path:
        try:
            entries = os.listdir(folder or os.curdir)
        except OSError:  # not a directory
            continue
        for entry in entries:
            stem, _, kind = entry.rpartition(".")
            name = stem.partition("-")[0].lower()
            if kind in ("dist-info", "egg-info") and name in NAMES:
                place = os.path.join(folder, entry)
                raise ImportError(
                    f"another distribution takes the import name {name} of loopwright: {place}; use separate "
                    f"environments, or pip uninstall {name} and then pip install --force-reinstall loopwright",
                    name=importer,
                )
