from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from optimizer import Training, distill, quantize
from optimizer.precision_choice import fewest, layer_errors, with_floats
from optimizer.samples import fitting
from optimizer.session import Session
from tests.optimizer.classes import convolutions, images
from tests.optimizer.networks import network, samples


def fragile() -> onnx.ModelProto:
    """A trained network whose second convolution has a channel with large weights, and other ones that matter."""
    trained = distill(convolutions(), [], images(300, 0), training=Training(8, 32, 0.02), threads=1).model
    weight = next(tensor for tensor in trained.graph.initializer if tensor.name == "w2")
    array = numpy_helper.to_array(weight).copy()
    array[:, 0] *= 400  # one input channel sets the scale of all others
    weight.CopyFrom(numpy_helper.from_array(array, "w2"))
    scale = next(tensor for tensor in trained.graph.initializer if tensor.name == "scale")
    offset = next(tensor for tensor in trained.graph.initializer if tensor.name == "offset")
    for each in (scale, offset):
        array = numpy_helper.to_array(each).copy()
        array[0] /= 400
        each.CopyFrom(numpy_helper.from_array(array, each.name))
    return trained


def test_errors_of_layers() -> None:
    """All of them give the original's answers, none of them those of the quantized model."""
    original, data = network(), samples(8)
    quantized = quantize(original, data)
    named = quantize(original, data, errors=True)
    assert [error.layer for error in named.errors]
    errors = [error.divergence for error in named.errors]
    assert errors == sorted(errors, reverse=True)
    assert all(error >= 0 for error in errors)
    assert quantized.errors == ()


def test_most_layers_stay_quantized() -> None:
    model, data = fragile(), images(200, 1)
    plain = quantize(model, data)
    found = quantize(model, data, max_drop=1.0)
    assert found.accuracy is not None
    right = [
        (np.concatenate([Session(each)({"x": x[None]})["y"].argmax(1) for x in data["x"]]) == data["labels"]).mean()
        for each in (model, plain.model, found.model)
    ]
    assert found.accuracy.of_labels
    assert found.accuracy.before == pytest.approx(right[0])
    assert found.accuracy.after == pytest.approx(right[2])
    assert right[1] < right[0] - 0.01, "without max_drop, too much is lost"
    assert right[2] >= right[0] - 0.01
    assert 1 <= len(found.accuracy.in_float) < len(plain.quantized)
    assert set(found.quantized) == set(plain.quantized) - set(found.accuracy.in_float)
    assert {name for name, _ in found.left} == set(found.accuracy.in_float)
    onnx.checker.check_model(found.model, full_check=True)


def test_without_labels_the_classes_of_the_original_count() -> None:
    found = quantize(network(), samples(16), max_drop=0)
    assert found.accuracy is not None
    assert not found.accuracy.of_labels
    assert found.accuracy.before == found.accuracy.after == 1.0


def test_all_layers_in_floating_point() -> None:
    original, data = network(), samples(8)
    found = quantize(original, data, bias_correction=False)
    from optimizer.quantize import _prepared

    prepared = _prepared(original)
    back = with_floats(found.model, prepared, found.quantized)
    assert {"Conv", "Gemm"} <= {node.op_type for node in back.graph.node}
    answers = [
        np.concatenate([Session(each)({"x": x[None]})["y"] for x in data["x"]])
        for each in (original, back, found.model)
    ]
    errors = [np.square(each - answers[0]).mean() for each in answers[1:]]
    assert errors[0] < 0.7 * errors[1]  # sums and pools still read 8 bits
    assert layer_errors(prepared, back, [], fitting(data, prepared), 1) == ()


@pytest.mark.parametrize("least", range(6))
def test_fewest(least: int) -> None:
    assert fewest(5, lambda count: count >= least) == least


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="max_drop must be from 0 to 100 percentage points, got -1"):
        quantize(network(), samples(4), max_drop=-1)
    with pytest.raises(ValueError, match="labels must be whole numbers from 0 to 9, one for each of 4 samples"):
        quantize(network(), samples(4) | {"labels": np.full(4, 10)}, max_drop=1)
