"""Products of matrices, and attention."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.compiler.differential.draft import NodeDraft
from tests.compiler.differential.values import SMALL, UNIT

EQUATIONS = (
    *("ij,jk->ik", "ij,jk", "bij,bjk->bik", "bij,jk->bik", "i,i->", "i,j->ij", "ij->ji", "ij->", "ij->i", "ii->i"),
    *("ii->", "bhqd,bhkd->bhqk", "bqhd,bkhd->bhqk", "...ij,...jk->...ik", "...i->...", "ij,ij->ij", "ij,kj,kl->il"),
    *("abc,cd->abd", "i...,i...->...", "abc->cab"),
)


def matmul(d: NodeDraft) -> None:
    x = d.data(rank=(1, 4), kind=SMALL, most=6)
    inner = x.shape[-1]
    batch = [1 if d.chance(30) else size for size in x.shape[:-2]]
    form = d.choice("vector", "matrix", "batch", "batch", "more")
    if form == "vector":
        d.operand([inner], SMALL)
    elif form == "matrix":
        d.operand([inner, d.integer(1, 6)], SMALL)
    elif form == "batch":
        d.operand([*batch, inner, d.integer(1, 6)], SMALL)
    else:
        d.operand([d.integer(1, 2), *batch, inner, d.integer(1, 6)], SMALL)


def gemm(d: NodeDraft) -> None:
    x = d.data(rank=(2, 2), kind=SMALL, most=8)
    a, b = d.maybe("transA", 0, 1), d.maybe("transB", 0, 1)
    rows, inner = x.shape[::-1] if a else x.shape
    columns = d.integer(1, 8)
    d.operand([columns, inner] if b else [inner, columns], SMALL)
    if d.version < 11 or d.chance(70):
        form = d.choice([rows, columns], [columns], [1, columns], [rows, 1], [1], [])
        d.operand(form, SMALL)
    d.maybe("alpha", 0.0, 0.5, 1.0, 2.0)
    d.maybe("beta", 0.0, 0.5, 1.0, 2.0)


def einsum(d: NodeDraft) -> None:
    equation = d.choice(*EQUATIONS)
    sizes = {letter: d.integer(1, 4) for letter in "abcdhijklq"}
    middle = d.shape((0, 2), least=1, most=3)
    for index, term in enumerate(equation.split("->")[0].split(",")):
        shape = []
        for part in term.replace("...", "."):
            shape += middle if part == "." else [sizes[part]]
        d.data(shape=shape, kind=SMALL) if index == 0 else d.operand(shape, SMALL)
    d.set("equation", equation.replace(",", ", ").replace("->", " -> ") if d.chance(20) else equation)


def det(d: NodeDraft) -> None:
    size = d.integer(1, 4)
    d.data(shape=[*d.shape((0, 2), least=1, most=3), size, size], kind=SMALL)


def attention(d: NodeDraft) -> None:
    batch, heads, groups = d.integer(1, 2), d.integer(1, 2), d.choice(1, 1, 2)
    queries, keys, size, value_size = d.integer(1, 4), d.integer(1, 4), d.choice(2, 4), d.choice(2, 3)
    q_heads = heads * groups
    flat = d.chance(40)

    def shape(count: int, length: int, width: int) -> list[int]:
        return [batch, length, count * width] if flat else [batch, count, length, width]

    d.data(shape=shape(q_heads, queries, size), kind=SMALL)
    d.operand(shape(heads, keys, size), SMALL)
    if d.chance(85):
        d.bind(2, d.dtype(0))
        if d.chance(50):
            d.bind(3, d.dtype(0))
    d.operand(shape(heads, keys, value_size), SMALL)
    if flat:
        d.set("q_num_heads", q_heads)
        d.set("kv_num_heads", heads)
    past = d.integer(1, 3) if d.chance(25) else 0
    if d.chance(50):
        lead = d.choice([], [1], [1, 1], [batch, 1], [batch, q_heads])
        if len(lead) == 1:
            lead = [1, q_heads] if d.chance(50) else []
        mask = [*lead, queries, keys + past]
        dtype = d.dtype(3)
        if dtype.kind == "b":
            array = d.rng().random(mask) < 0.7
            array[..., 0] = True  # a row without any key has no answer
        else:
            array = d.rng().uniform(0 if dtype.kind == "u" else -2, 2, mask)
            if dtype.kind == "f" and d.chance(40):
                array[..., 1:] = np.where(d.rng().random(array[..., 1:].shape) < 0.4, -np.inf, array[..., 1:])
        d.given(array.astype(dtype), dynamic=50)
    elif past:
        d.absent()
    if past:
        d.operand([batch, heads, past, size], SMALL)
        d.operand([batch, heads, past, value_size], SMALL)
        d.num_outputs = 3
    if d.chance(20):
        d.num_outputs = 4
        d.skipped_outputs = set() if past else {1, 2}
        d.maybe("qk_matmul_output_mode", 0, 1, 2, 3)
    d.maybe("is_causal", 0, 1, percent=40)
    d.maybe("scale", 0.25, 1.0, percent=40)
    d.maybe("softcap", 0.5, 3.0, percent=20)
    d.maybe("softmax_precision", 1, 11, percent=10)
    d.maybe("left_window_size", -1, 0, 2, percent=15)
    d.maybe("right_window_size", -1, 0, 2, percent=15)


def linear_attention(d: NodeDraft) -> None:
    batch, heads, groups, length, key, value = d.integer(1, 2), d.integer(1, 2), 1, d.integer(1, 4), 2, 3
    rule = d.choice("linear", "gated", "delta", "gated_delta")
    d.data(shape=[batch, length, heads * groups * key], kind=UNIT)
    d.operand([batch, length, heads * key], UNIT)
    d.operand([batch, length, heads * value], UNIT)
    d.operand([batch, heads, key, value], UNIT) if d.chance(50) else d.absent()
    if "gated" in rule:
        d.given(-d.rng().uniform(0, 1, [batch, length, heads * d.choice(1, key)]).astype(d.dtype(0)))
    else:
        d.absent()
    if "delta" in rule:
        d.given(d.rng().uniform(0, 1, [batch, length, heads]).astype(d.dtype(0)))
    d.num_outputs = 2
    d.set("q_num_heads", heads * groups)
    d.set("kv_num_heads", heads)
    d.set("update_rule", rule)
    d.maybe("scale", 0.5, 1.0)
    d.maybe("chunk_size", 1, 2, 64)


def rotary_embedding(d: NodeDraft) -> None:
    batch, heads, length, size = d.integer(1, 2), d.integer(1, 3), d.integer(1, 4), d.choice(4, 8)
    flat = d.chance(40)
    d.data(shape=[batch, length, heads * size] if flat else [batch, heads, length, size], kind=SMALL)
    rotary = d.choice(0, 0, 4) if size == 8 else 0
    half = (rotary or size) // 2
    positions = d.chance(60)
    shape = [length + 3, half] if positions else [batch, length, half]
    d.operand(shape, UNIT)
    d.operand(shape, UNIT)
    if positions:
        d.given(d.rng().integers(0, length + 3, [batch, length]).astype(np.int64), dynamic=50)
    if flat or d.chance(30):
        d.set("num_heads", heads)
    if rotary or d.chance(30):
        d.set("rotary_embedding_dim", rotary)
    d.maybe("interleaved", 0, 1)


STRATEGIES: dict[str, Callable[[NodeDraft], None]] = {
    "Attention": attention,
    "Det": det,
    "Einsum": einsum,
    "Gemm": gemm,
    "LinearAttention": linear_attention,
    "MatMul": matmul,
    "RotaryEmbedding": rotary_embedding,
}
