"""``python -m autotune`` is ``python -m autotune.search``."""

from __future__ import annotations

import sys

from autotune.search import main

sys.exit(main())
