"""Makes a trained model smaller and faster before it is compiled.

``quantize(model, samples)`` is the only step so far: 8-bit integers after training.
"""

from optimizer.methods import METHODS
from optimizer.quantize import Quantized, quantize

__all__ = ["METHODS", "Quantized", "quantize"]
