"""The hypothesis profile ``thorough``: 2,000 random networks instead of a few.

Use ``pytest tests/graph_passes --hypothesis-profile=thorough``. Without the folder, pytest reads this file too late.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "thorough",
    max_examples=2000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
