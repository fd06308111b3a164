from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from optimizer import quantize
from tests.optimizer.networks import network, samples


def integers(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    kind = onnx.TensorProto.INT8
    return {t.name: numpy_helper.to_array(t).astype(int) for t in model.graph.initializer if t.data_type == kind}


def test_answers_come_closer() -> None:
    """Integers move by one at most, and the answers are closer to the original's, also on other samples."""
    original, data = network(), samples(32)
    plain, better = (quantize(original, data, "min-max", adaround=adaround) for adaround in (False, True))
    assert better.outputs[0].sqnr_db > plain.outputs[0].sqnr_db
    before, after = integers(plain.model), integers(better.model)
    assert before.keys() == after.keys()
    moved = [np.abs(after[name] - array) for name, array in before.items()]
    assert max(each.max() for each in moved) == 1
    assert 0.01 < np.concatenate([each.reshape(-1) for each in moved]).mean() < 0.5
    onnx.checker.check_model(better.model, full_check=True)
