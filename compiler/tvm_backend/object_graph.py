"""The graph of nodes as which TVM writes an object as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import tvm
from tvm_ffi import core

Node = dict[str, Any]

_FIRST_PLAIN, _LAST_PLAIN = 0, 6  # static types of fields that are written in place: numbers, types, devices


class Graph:
    """Nodes, each of which has a type and data. Fields of objects and elements of lists are indices of nodes."""

    def __init__(self, value: Any) -> None:
        written = json.loads(tvm.ir.save_json(value))
        self.nodes: list[Node] = written["nodes"]
        self.root: int = written["root_index"]


def object_of(nodes: list[Node], root: int) -> Any:
    """Returns the object that a graph describes."""
    return tvm.ir.load_json(json.dumps({"root_index": root, "nodes": nodes}))


def links(node: Node) -> list[int]:
    """Returns the indices of the nodes that a node refers to."""
    data = node.get("data")
    if isinstance(data, dict):
        plain = plain_fields(node["type"])
        return [value for name, value in data.items() if name not in plain]
    return data if isinstance(data, list) else []


def relinked(node: Node, place: Callable[[int], int]) -> Node:
    """Returns a node that refers to other nodes: ``place`` of those that it refers to."""
    data = node.get("data")
    if isinstance(data, dict):
        plain = plain_fields(node["type"])
        return node | {"data": {name: value if name in plain else place(value) for name, value in data.items()}}
    return node | {"data": [place(value) for value in data]} if isinstance(data, list) else node


@cache
def plain_fields(kind: str) -> frozenset[str]:
    """Returns the fields of a type of objects that are not indices of nodes."""
    info = core._lookup_or_register_type_info_from_type_key(kind)  # TVM offers no other access to the fields
    fields: list[Any] = []
    while info is not None:
        fields += info.fields
        info = info.parent_type_info
    return frozenset(field.name for field in fields if _FIRST_PLAIN <= field.field_static_type_index <= _LAST_PLAIN)


def in_order(nodes: list[Node], root: int) -> tuple[list[Node], int]:
    """Returns the nodes that a node needs, each after those that it refers to, and the node's index among them."""
    order: dict[int, int] = {}
    entered: set[int] = set()
    stack: list[tuple[int, bool]] = [(root, False)]
    while stack:
        index, is_complete = stack.pop()
        if is_complete:
            order.setdefault(index, len(order))
        elif index not in entered:
            entered.add(index)
            stack.append((index, True))
            stack.extend((link, False) for link in links(nodes[index]))
    return [relinked(nodes[index], order.__getitem__) for index in order], order[root]


def appended(nodes: list[Node], more: Iterable[Node]) -> int:
    """Appends the nodes of another graph, and returns the index of its first node."""
    start = len(nodes)
    nodes.extend(relinked(node, lambda index: index + start) for node in more)
    return start
