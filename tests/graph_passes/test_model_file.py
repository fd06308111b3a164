"""A model may be a file, a folder or a zip archive; anything else is one line that says what it is."""

from __future__ import annotations

import io
import json
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import graph_passes
from graph_passes import model_file
from graph_passes.model_io import read
from tests.graph_passes import oracle
from tests.graph_passes.test_model_io import error_of, plain, with_external


def archive(path: Path, files: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as written:
        for name, content in files.items():
            written.writestr(name, content)
    return path


def external_files(folder: Path) -> dict[str, bytes]:
    """The files of a model with external data, by name."""
    folder.mkdir()
    with_external(folder)
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def assert_is_plain(path: Path) -> None:
    """Checks that ``path`` is read as the model ``plain``, which stays usable."""
    optimized = graph_passes.optimize(path, passes=["freeze_shapes"])
    inputs = oracle.random_inputs(plain(), seed=1)
    (want,), (got,) = oracle.run(plain(), inputs), oracle.run(optimized.model, inputs)
    np.testing.assert_array_equal(got, want)


def of_file(folder: Path) -> Path:
    onnx.save(plain(), folder / "model.onnx")
    return folder / "model.onnx"


def of_folder(folder: Path) -> Path:
    (folder / "net").mkdir()
    (folder / "net" / "labels.txt").write_text("cat\ndog\n")
    onnx.save(plain(), folder / "net" / "anything.onnx")
    return folder / "net"


def of_archive(folder: Path) -> Path:
    return archive(folder / "net.zip", {"readme.txt": b"...", "net.onnx": plain().SerializeToString()})


def of_archive_with_external_data(folder: Path) -> Path:
    files = {f"deep/er/{name}": content for name, content in external_files(folder / "made").items()}
    return archive(folder / "net.zip", files | {"__MACOSX/deep/er/._model.onnx": b"\0", "deep/er/._model.onnx": b"\0"})


def of_archive_without_compression(folder: Path) -> Path:
    return archive(folder / "net.onnx", external_files(folder / "made"), zipfile.ZIP_STORED)


FORMS: list[Callable[[Path], Path]] = [of_file, of_folder, of_archive, of_archive_without_compression]


@pytest.mark.parametrize("make", FORMS, ids=lambda make: make.__name__)
def test_forms_of_a_model(make: Callable[[Path], Path], tmp_path: Path) -> None:
    assert_is_plain(make(tmp_path))


@pytest.mark.parametrize("make", [of_archive_with_external_data, of_archive_without_compression])
def test_external_data_of_an_archive_outlives_it(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    model = read(path)
    path.unlink()
    weight = model.graph.initializers["w"].const_value
    assert weight is not None
    np.testing.assert_array_equal(weight.numpy(), onnx.numpy_helper.to_array(plain().graph.initializer[0]))


def test_the_temporary_folder_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    with model_file.opened(of_archive(tmp_path)) as file:
        assert file.is_relative_to(scratch)
        assert file.is_file()
    assert not list(scratch.iterdir())
    with pytest.raises(ValueError, match="is not a model"), model_file.opened(archive(tmp_path / "no.zip", {})):
        pass
    assert not list(scratch.iterdir())


@pytest.mark.parametrize("make", [of_folder, of_archive_with_external_data], ids=["folder", "archive"])
def test_the_command_line_takes_all_forms(make: Callable[[Path], Path], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "graph_passes", str(make(tmp_path)), str(tmp_path / "out.onnx"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_is_plain(tmp_path / "out.onnx")


# Archives that are rejected before anything is extracted

MODEL = plain().SerializeToString()


def _named(name: str) -> Callable[[Path], Path]:
    return lambda folder: archive(folder / "in.zip", {"model.onnx": MODEL, name: b"content"})


def _link(folder: Path) -> Path:
    path = archive(folder / "in.zip", {"model.onnx": MODEL})
    with zipfile.ZipFile(path, "a") as written:
        info = zipfile.ZipInfo("weights.bin")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        written.writestr(info, "/etc/passwd")
    return path


def _bomb(folder: Path) -> Path:
    return archive(folder / "in.zip", {"model.onnx": MODEL, "weights.bin": bytes(2**27)})


def _declared_bomb(folder: Path) -> Path:
    """An archive that declares more than the disk has room for."""
    path = archive(folder / "in.zip", {"model.onnx": MODEL, "weights.bin": bytes(8)}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02")  # the entry of weights.bin in the directory
    content[place + 24 : place + 28] = struct.pack("<I", 2**32 - 2)
    path.write_bytes(bytes(content))
    return path


def _twice(folder: Path) -> Path:
    path = archive(folder / "in.zip", {"model.onnx": MODEL})
    with zipfile.ZipFile(path, "a") as written, pytest.warns(UserWarning, match="Duplicate"):
        written.writestr("model.onnx", b"")
    return path


def _encrypted(folder: Path) -> Path:
    path = archive(folder / "in.zip", {"model.onnx": MODEL})
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(content))
    return path


def _many(folder: Path) -> Path:
    return archive(folder / "in.zip", {f"{number}": b"" for number in range(model_file.MOST_FILES + 1)})


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "absolute": (_named("/evil"), "its file '/evil' leaves the folder"),
    "parent": (_named("../evil"), "its file '../evil' leaves the folder"),
    "inner parent": (_named("a/../../evil"), "leaves the folder"),
    "backslash": (_named("..\\evil"), "leaves the folder"),
    "drive": (_named("c:evil"), "leaves the folder"),
    "link": (_link, "its file 'weights.bin' is a link or a device"),
    "bomb": (_bomb, "more than 100 times as many; unpack it if you trust it"),
    "declared": (_declared_bomb, "more than 100 times as many"),
    "twice": (_twice, "has its file 'model.onnx' twice"),
    "encrypted": (_encrypted, "is encrypted; unpack it"),
    "many": (_many, "an archive of a model may have 10000"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archives(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, reason = HOSTILE[kind]
    path = make(tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.setattr("shutil.copyfileobj", None)  # nothing may be extracted
    message = error_of(path)
    assert message.startswith(str(path))
    assert reason in message
    assert not list(scratch.iterdir())


def test_an_archive_larger_than_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = of_archive(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    assert "has room for 10" in error_of(path)


def test_external_data_outside_of_the_model_s_folder_in_an_archive(tmp_path: Path) -> None:
    model = with_external(tmp_path)
    proto = onnx.load(model, load_external_data=False)
    for tensor in proto.graph.initializer:
        entry = next(entry for entry in tensor.external_data if entry.key == "location")
        entry.value = "../weights.bin"
    files = {"net/model.onnx": proto.SerializeToString(), "weights.bin": (tmp_path / "weights.bin").read_bytes()}
    assert "outside of the model's folder" in error_of(archive(tmp_path / "in.zip", files))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_archives(data: st.DataObject, tmp_path: Path) -> None:
    """A truncated archive, or one with other bytes, is a model or an error of one line."""
    content = bytearray(archive(tmp_path / "in.zip", {"model.onnx": MODEL}).read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "in.zip").write_bytes(bytes(content))
    message = ""
    try:
        read(tmp_path / "in.zip")
    except (ValueError, OSError) as error:
        message = str(error)
    assert len(message.splitlines()) <= 1


# Other files and folders


def _content(data: bytes, name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def _folder(*names: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        for name in names:
            file = folder / "in" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(MODEL if name.endswith(".onnx") else b"{}")
        (folder / "in").mkdir(exist_ok=True)
        return folder / "in"

    return make


def _zipped(*names: str) -> Callable[[Path], Path]:
    return lambda folder: archive(folder / "in.pt", dict.fromkeys(names, MODEL))


def _npz(folder: Path) -> Path:
    np.savez(folder / "in.npz", x=np.zeros(3))
    return folder / "in.npz"


_HEADER = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
_XML = b'<?xml version="1.0"?>\n<net name="x" version="11"></net>'
OTHERS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "empty": (_content(b"", "in.onnx"), "it is empty"),
    "text": (_content(b"Once upon a time\n" * 9, "in.onnx"), "it is a text file"),
    "text model": (_content(b'<ir_version: 8, opset_import: ["": 18]> g () => () {}', "in.onnx"), "ONNX's text format"),
    "web page": (_content(b"<!DOCTYPE html>\n<html><body>404", "in.onnx"), "it is a web page; the download failed"),
    "lfs": (_content(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "in.onnx"), "git lfs pull"),
    "safetensors": (
        _content(struct.pack("<Q", len(_HEADER)) + _HEADER + bytes(4), "in.safetensors"),
        "it has weights only (safetensors), without a graph; export the model: torch.onnx.export",
    ),
    "old pt": (
        _content(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "in.pt"),
        "it is a PyTorch file, which is not loaded",
    ),
    "pickle": (_content(b"\x80\x04\x95\x00", "in.pkl"), "it is a Python pickle"),
    "pt": (_zipped("m/data.pkl", "m/version", "m/data/0"), "it is a PyTorch file, which is not loaded"),
    "keras": (_zipped("config.json", "model.weights.h5"), "it is a Keras model; export it: model.export"),
    "npz": (_npz, "it is an archive of NumPy arrays"),
    "tflite": (
        _content(b"\x1c\0\0\0TFL3" + bytes(99), "in.tflite"),
        "a TensorFlow Lite model; convert it: python -m tf2onnx",
    ),
    "ort": (_content(b"\x1c\0\0\0ORTM" + bytes(99), "in.ort"), "a model in ONNX Runtime's own format"),
    "gguf": (_content(b"GGUF\x03" + bytes(99), "in.gguf"), "GGUF, without a graph"),
    "hdf5": (_content(b"\x89HDF\r\n\x1a\n" + bytes(99), "in.h5"), "it is an HDF5 file, as Keras writes"),
    "openvino": (_content(_XML, "in.xml"), "it is a model of OpenVINO"),
    "gzip": (_content(b"\x1f\x8b\x08" + bytes(99), "in.onnx.gz"), "it is compressed by gzip; unpack it"),
    "npy": (_content(b"\x93NUMPY\x01\x00" + bytes(99), "in.npy"), "it is a NumPy array; give the model"),
    "zip of text": (_zipped("a.txt", "b.txt"), "it is a zip archive without an .onnx file; it has a.txt, b.txt"),
    "zip of two": (_zipped("a.onnx", "b/c.onnx"), "has 2 models: a.onnx, b/c.onnx; an archive must have one"),
    "empty zip": (_zipped(), "it is a zip archive without an .onnx file; it has no files"),
    "empty folder": (_folder(), "it has no .onnx file; it has no files"),
    "folder of two": (_folder("a.onnx", "b.onnx"), "has 2 models: a.onnx, b.onnx; give one of them"),
    "folder above": (_folder("onnx/model.onnx", "config.json"), "give one of those below it: onnx/model.onnx"),
    "tensorflow": (_folder("saved_model.pb", "variables/x"), "it is a TensorFlow model; convert it: python -m tf2onnx"),
    "hugging face": (_folder("config.json", "model.safetensors"), "it has weights only, without a graph; export"),
    "saved model": (
        _folder("manifest.json", "program.so", "segment0.onnx"),
        "a saved model, which compiler.load reads",
    ),
    "names in lines": (_zipped("a\nb.txt", "c\x1b[2J"), "it has 'a\\nb.txt', 'c\\x1b[2J'"),
    "models in lines": (_zipped("a\nb.onnx", "c.onnx"), "has 2 models: 'a\\nb.onnx', c.onnx"),
    "other folder": (_folder("a.txt"), "it has no .onnx file; it has a.txt"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_not_a_model_is_named(kind: str, tmp_path: Path) -> None:
    make, reason = OTHERS[kind]
    path = make(tmp_path)
    message = error_of(path)
    assert message.startswith(str(path))
    assert reason in message


def test_a_real_pytorch_file_is_named(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.zeros(3)}, tmp_path / "in.pth")
    assert "it is a PyTorch file" in error_of(tmp_path / "in.pth")
    content = io.BytesIO()
    torch.save({"w": torch.zeros(3)}, content, _use_new_zipfile_serialization=False)
    (tmp_path / "old.pth").write_bytes(content.getvalue())
    assert "it is a PyTorch file" in error_of(tmp_path / "old.pth")


def test_a_missing_file(tmp_path: Path) -> None:
    assert "No such file" in error_of(tmp_path / "missing.zip")
