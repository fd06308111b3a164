"""Makes a trained model smaller and faster before it is compiled.

``prune(model, ratio=0.3)`` returns a plan of the channels that stay. ``quantize(model, samples)`` computes in 8-bit
integers after training.
"""

from optimizer.methods import METHODS
from optimizer.plan import Plan
from optimizer.prune import COSTS, IMPORTANCES, prune
from optimizer.quantize import Quantized, quantize

__all__ = ["COSTS", "IMPORTANCES", "METHODS", "Plan", "Quantized", "prune", "quantize"]
