"""Finds the expression of sizes that has given values at given sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import combinations, combinations_with_replacement, product
from math import lcm, prod

from compiler.sizes.expression import Expression
from compiler.sizes.size import Size

_MOST_FACTORS = 4  # of a product, such as batch · length · length


def fitted(
    values: Sequence[int], witnesses: Sequence[Mapping[str, int]], sizes: Sequence[Size]
) -> int | Expression | None:
    """Returns the simplest expression with these values; None if no expression has them.

    Expressions are a number, then multiples of a product plus a number, then sums of multiples of all sizes, or of two
    products, plus a number. They have fewer unknowns than there are witnesses, so further ones are a check.

    Args:
        values: the value at each witness.
        witnesses: sizes by name, at least five.
        sizes: the ranges, in all of which the expression is an integer.
    """
    if len(set(values)) == 1:
        return values[0]
    products = list(_products(list(witnesses[0])))
    columns = [[prod(witness[name] for name in names) for witness in witnesses] for names in products]
    singles = [index for index, names in enumerate(products) if len(names) == 1]
    for count in (1, 2):
        chosen_products = list(combinations(range(len(products)), count))
        if count == 2 and len(singles) > 2:
            chosen_products.insert(0, tuple(singles))  # a concatenation of all
        for chosen in chosen_products:
            for has_constant in (False, True):
                found = _solved([columns[index] for index in chosen], values, has_constant)
                if found is None:
                    continue
                expression = _expression(found, [products[index] for index in chosen])
                if _is_integer(expression, sizes):
                    return expression
    return None


def _products(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yields products with at most two factors of each size, those with fewer factors first."""
    for factors in range(1, _MOST_FACTORS + 1):
        for names_of in combinations_with_replacement(names, factors):
            if all(names_of.count(name) <= 2 for name in names_of):
                yield names_of


def _solved(columns: Sequence[Sequence[int]], values: Sequence[int], has_constant: bool) -> list[Fraction] | None:
    """Returns the coefficients of the columns and the constant, if the columns give exactly these values."""
    rows = (
        [[*row, 1] for row in zip(*columns, strict=True)]
        if has_constant
        else [list(r) for r in zip(*columns, strict=True)]
    )
    unknowns = len(rows[0])
    solution = _solution(rows, values, unknowns)
    if solution is None:
        return None
    if any(
        sum(c * n for c, n in zip(solution, row, strict=True)) != value for row, value in zip(rows, values, strict=True)
    ):
        return None
    if not all(solution[: len(columns)]):
        return None
    return solution if has_constant else [*solution, Fraction(0)]


def _solution(rows: Sequence[Sequence[int]], values: Sequence[int], unknowns: int) -> list[Fraction] | None:
    """Returns the solution of linear equations by elimination; None if they do not determine it."""
    matrix = [[*map(Fraction, row), Fraction(value)] for row, value in zip(rows, values, strict=True)]
    for column in range(unknowns):
        pivot = next((index for index in range(column, len(matrix)) if matrix[index][column]), None)
        if pivot is None:
            return None
        matrix[column], matrix[pivot] = matrix[pivot], matrix[column]
        scale = matrix[column][column]
        matrix[column] = [entry / scale for entry in matrix[column]]
        for index, row in enumerate(matrix):
            if index != column and row[column]:
                factor = row[column]
                matrix[index] = [entry - factor * head for entry, head in zip(row, matrix[column], strict=True)]
    return [matrix[index][-1] for index in range(unknowns)]


def _expression(solution: Sequence[Fraction], products: Sequence[tuple[str, ...]]) -> Expression:
    divisor = lcm(*(number.denominator for number in solution))
    *coefficients, constant = [int(number * divisor) for number in solution]
    return Expression(tuple(zip(coefficients, products, strict=True)), constant, divisor)


def _is_integer(expression: Expression, sizes: Sequence[Size]) -> bool:
    """Whether the division leaves no remainder for any value of the sizes."""
    divisor = expression.divisor
    if divisor == 1:
        return True
    whole = Expression(expression.terms, expression.constant)
    remainders = [sorted({value % divisor for value in size.values[: 2 * divisor]}) for size in sizes]
    names = [size.name for size in sizes]
    return all(whole.at(dict(zip(names, point, strict=True))) % divisor == 0 for point in product(*remainders))
