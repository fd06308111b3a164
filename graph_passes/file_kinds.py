"""Says what a file that is not an ONNX model is, and how to proceed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

_HEAD = 4096  # bytes that are read
_PICKLE, _NEWEST_PICKLE = 0x80, 5  # the first byte of a pickle, and the newest protocol, which is the second byte
_IR_VERSION, _LARGEST_IR_VERSION = 0x08, 32  # the first field of an ONNX model, and a bound of its value
_EXPORT = "export the model: torch.onnx.export(module, inputs, 'model.onnx')"
_UNPACK = "unpack it"
# What a file begins with, at a position; what it is; what is possible.
_STARTS: tuple[tuple[int, bytes, str, str], ...] = (
    (4, b"TFL3", "a TensorFlow Lite model", "convert it: python -m tf2onnx.convert --tflite FILE --output model.onnx"),
    (4, b"ORTM", "a model in ONNX Runtime's own format", "give the .onnx file that it was made from"),
    (0, b"GGUF", "weights in the format GGUF, without a graph", _EXPORT),
    (
        0,
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file, as Keras writes",
        "export the model: model.export('m.onnx', format='onnx')",
    ),
    (0, b"\x93NUMPY", "a NumPy array", "give the model; inputs are given by --input or run()"),
    (0, b"version https://git-lfs", "a pointer of Git LFS to the model", "fetch the model: git lfs pull"),
    (0, b"7767517", "a network of ncnn", "give the .onnx file that it was made from"),
    (0, b"\x1f\x8b", "compressed by gzip", _UNPACK),
    (0, b"\xfd7zXZ\x00", "compressed by xz", _UNPACK),
    (0, b"BZh", "compressed by bzip2", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "compressed by zstd", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"\x89PNG", "an image", "give the model; inputs are given by --input or run()"),
    (0, b"\xff\xd8\xff", "an image", "give the model; inputs are given by --input or run()"),
    (0, b"\x7fELF", "a program or a library", "give the model"),
)
_PYTORCH = "a PyTorch file, which is not loaded because that may run code"


def of_file(path: Path) -> str:
    """Returns what a file is and what is possible, as the end of a line."""
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    if not head:
        return "it is empty"
    for place, start, what, advice in _STARTS:
        if head[place : place + len(start)] == start:
            return f"it is {what}; {advice}"
    if _is_safetensors(head, path):
        return f"it has weights only (safetensors), without a graph; {_EXPORT}"
    if head[0] == _PICKLE and 2 <= int.from_bytes(head[1:2], "little") <= _NEWEST_PICKLE:
        return f"it is {_PYTORCH if path.suffix in ('.pt', '.pth', '.bin', '.ckpt') else 'a Python pickle'}; {_EXPORT}"
    if head[0] == _IR_VERSION and 1 <= int.from_bytes(head[1:2], "little") < _LARGEST_IR_VERSION:
        return "it begins like one, but is truncated or damaged"
    text = _text(head)
    if text is None:
        return "it is of an unknown kind, or is truncated"
    start = text.lstrip("\ufeff \t\r\n").lower()
    if start.startswith(("<!doctype html", "<html")):
        return "it is a web page; the download failed"
    if start.startswith("<?xml") and "<net" in start:
        return "it is a model of OpenVINO; give the .onnx file that it was made from"
    if start.startswith("<") and "ir_version" in start:
        return "it is ONNX's text format; convert it: onnx.save(onnx.parser.parse_model(text), 'model.onnx')"
    return "it is a text file"


def of_archive(names: Sequence[str]) -> str:
    """Returns what a zip archive with these files is and what is possible; it has no ``.onnx`` file."""
    last = {PurePosixPath(name).name for name in names}
    if "data.pkl" in last or "serialized_exported_program.json" in last:
        return f"it is {_PYTORCH}; {_EXPORT}"
    if "model.weights.h5" in last:
        return "it is a Keras model; export it: model.export('model.onnx', format='onnx')"
    if names and all(name.endswith(".npy") for name in names):
        return "it is an archive of NumPy arrays; give the model; inputs are given by --input or run()"
    return f"it is a zip archive without an .onnx file; it has {listed(names)}"


def of_folder(folder: Path) -> str:
    """Returns what a folder is and what is possible; it has no ``.onnx`` file."""
    names = sorted(entry.name for entry in folder.iterdir())
    if is_saved_model(folder):
        return "it is a saved model, which compiler.load reads"
    below = sorted(f"{file.parent.name}/{file.name}" for file in folder.glob("*/*.onnx"))
    if below:
        return f"it has no .onnx file; give one of those below it: {listed(below)}"
    if "saved_model.pb" in names:
        return (
            "it is a TensorFlow model; convert it: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx"
        )
    if any(name.endswith((".safetensors", ".bin", ".pt", ".pth")) for name in names):
        return f"it has weights only, without a graph; {_EXPORT}"
    return f"it has no .onnx file; it has {listed(names)}"


def is_saved_model(folder: Path) -> bool:
    """Returns whether a folder is a compiled model, which may contain parts as ONNX files."""
    return (folder / "manifest.json").is_file() and (folder / "program.so").is_file()


def _is_safetensors(head: bytes, path: Path) -> bool:
    """Returns whether a file begins with the length of a JSON object, and that object."""
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and 2 <= length <= path.stat().st_size - 8


def _text(head: bytes) -> str | None:
    """Returns the beginning of a text file; None for other files."""
    try:
        text = head.decode("utf-8", "strict") if len(head) < _HEAD else head[: _HEAD - 4].decode("utf-8", "ignore")
    except UnicodeDecodeError:
        return None
    printable = all(character.isprintable() or character in "\t\r\n\f\ufeff" for character in text)
    return text if printable else None


def listed(names: Sequence[str]) -> str:
    """Returns some names in one line. Those with characters that are not printable are quoted."""
    most = 5
    if not names:
        return "no files"
    shown = [name if name.isprintable() else repr(name) for name in names[:most]]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")
