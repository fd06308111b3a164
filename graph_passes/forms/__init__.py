"""Operators and forms of operators that importers reject or compute incorrectly, in operators that they support.

Each function takes a node and a ``Replacement`` of it. It returns the values of the node's outputs, or None if the node
should stay: importers support its form, or its shapes are unknown.
"""
