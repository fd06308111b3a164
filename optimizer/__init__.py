"""Makes a trained model smaller and faster before it is compiled.

``prune(model, ratio=0.3)`` returns a plan of the channels that stay. ``distill(student, teachers, data)`` trains the
pruned model. ``quantize(model, samples)`` computes in 8-bit integers after training.
``search(model, data, latency=...)`` does all three.
"""

from optimizer.distill import Distilled, distill
from optimizer.methods import METHODS
from optimizer.plan import Plan
from optimizer.prune import COSTS, IMPORTANCES, prune
from optimizer.quantize import Quantized, quantize
from optimizer.search import Candidate, Found, search
from optimizer.training.settings import Training

__all__ = [
    "COSTS",
    "IMPORTANCES",
    "METHODS",
    "Candidate",
    "Distilled",
    "Found",
    "Plan",
    "Quantized",
    "Training",
    "distill",
    "prune",
    "quantize",
    "search",
]
