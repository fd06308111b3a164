"""Fixtures for the tests of all kernels."""

from __future__ import annotations

import pytest

import kernels


@pytest.fixture(params=("avx512", "avx2", "reference"), scope="module")
def isa(request: pytest.FixtureRequest) -> str:
    """Every instruction set with kernels that this CPU supports."""
    if request.param not in kernels.available_isas():
        pytest.skip(f"this CPU has no {request.param}")
    return request.param
