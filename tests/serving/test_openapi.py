"""The description of the REST interface has the paths and methods of the server's tables of routes."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_route_is_described() -> None:
    routes = set()
    for file in sorted((ROOT / "serving" / "cpp" / "http").glob("*_routes.cc")):
        found = re.findall(r'\{"([A-Z]+)", "([^"]*)", ', file.read_text())
        routes |= {(method, "/" + re.sub(r"\*+", "{}", pattern)) for method, pattern in found}
    described, path = set(), ""
    for line in (ROOT / "docs" / "serving" / "openapi.yaml").read_text().splitlines():
        if key := re.fullmatch(r"  (/.*):", line):
            path = re.sub(r"\{\w+\}", "{}", key[1])
        elif not line.startswith("   "):
            path = ""
        elif path and (method := re.match(r"    (get|put|post|delete|patch|head):", line)):
            described.add((method[1].upper(), path))
    assert ("POST", "/v2/models/{}/infer") in routes
    assert routes == described
