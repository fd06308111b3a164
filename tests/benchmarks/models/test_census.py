"""The table of the census is consistent, its inputs fit its models, and the reference runs them."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np
import onnx
import pytest

from benchmarks.models import census
from benchmarks.models.archives import ARCHIVES, NPM
from tests.graph_passes import oracle


def test_the_census_is_large_and_its_entries_are_pinned() -> None:
    assert len(census.CENSUS) >= 40
    assert {model.archive for model in census.CENSUS.values()} == set(ARCHIVES), "an archive without a model"
    for name, archive in ARCHIVES.items():
        assert archive.name == name
        assert archive.version
        assert len(archive.sha256) == 64
        assert archive.size < 100e6
        assert archive.license
        assert len(archive.tags.split("-")) in (1, 3)
    assert any(archive.registry == NPM for archive in ARCHIVES.values())


def test_names_and_files_are_distinct() -> None:
    models = list(census.CENSUS.values())
    assert [model.name for model in models] == list(census.CENSUS)
    assert len({(model.archive, model.file) for model in models}) == len(models)
    assert len({model.path for model in models}) == len(models)
    for model in models:
        assert model.path.parent == census.CENSUS_FOLDER
        assert PurePosixPath(model.file).suffix in (".onnx", ".tflite")
        assert (model.original is not None) == model.file.endswith(".tflite")


def test_an_unknown_model() -> None:
    with pytest.raises(ValueError, match="the census has no model 'lenet'; it has silero-vad, "):
        census.load("lenet")


def test_inputs_are_the_same_for_the_same_seed_and_of_the_stated_type() -> None:
    for name, model in census.CENSUS.items():
        once, again, other = (census.inputs(name, seed) for seed in (0, 0, 1))
        assert list(once) == [given.name for given in model.inputs]
        for given in model.inputs:
            assert once[given.name].shape == given.shape
            assert once[given.name].dtype == given.dtype
            np.testing.assert_array_equal(once[given.name], again[given.name])
        assert any(not np.array_equal(once[key], other[key]) for key in once)


@pytest.mark.parametrize("name", [name for name, model in census.CENSUS.items() if model.small])
def test_a_small_model_reads_these_inputs(name: str) -> None:
    if reason := census.missing(name):
        pytest.skip(reason)
    model = census.load(name)
    weights = {tensor.name for tensor in model.graph.initializer}
    declared = {
        value.name: onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        for value in model.graph.input
        if value.name not in weights
    }
    given = census.inputs(name)
    assert {key: array.dtype for key, array in given.items()} == declared
    for output in oracle.run(model, given):
        assert np.isfinite(output).all()
        assert np.abs(output).max() > 0
