"""How to draw the inputs and attributes of each operator: one function per operator, in one explicit table."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.compiler.differential.draft import NodeDraft
from tests.compiler.differential.operators import (
    elementwise,
    indexing,
    linear,
    normalization,
    quantized,
    recurrent,
    reductions,
    resize,
    shapes,
    signals,
    windows,
)

STRATEGIES: Mapping[str, Callable[[NodeDraft], None]] = {
    **elementwise.STRATEGIES,
    **indexing.STRATEGIES,
    **linear.STRATEGIES,
    **normalization.STRATEGIES,
    **quantized.STRATEGIES,
    **recurrent.STRATEGIES,
    **reductions.STRATEGIES,
    **resize.STRATEGIES,
    **shapes.STRATEGIES,
    **signals.STRATEGIES,
    **windows.STRATEGIES,
}

_RANDOM = "draws random numbers"
_FLOW = "its body is a graph; tests of graphs with control flow have their own models"
_SEQUENCE = "takes or returns a sequence or an optional value, which a compiled model does not have"
_TEXT = "works on strings"

# Operators without cases, and why.
LEFT_OUT: Mapping[str, str] = {
    **dict.fromkeys(
        "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike".split(), _RANDOM
    ),
    **dict.fromkeys("If Loop Scan SequenceMap".split(), _FLOW),
    **dict.fromkeys(
        "ConcatFromSequence Optional OptionalGetElement OptionalHasElement SequenceAt SequenceConstruct SequenceEmpty "
        "SequenceErase SequenceInsert SequenceLength SplitToSequence".split(),
        _SEQUENCE,
    ),
    **dict.fromkeys("RegexFullMatch StringConcat StringNormalizer StringSplit".split(), _TEXT),
    "Constant": "has no inputs; every case has constants",
    "ImageDecoder": "decodes files of images",
}
