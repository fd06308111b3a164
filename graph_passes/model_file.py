"""Finds the ONNX file of a model that is a file, a folder or a zip archive.

A folder must hold exactly one ``.onnx`` file, and so must an archive; its external data lies next to it or below. An
archive is not trusted: the names and sizes of all its files are checked before anything is extracted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from graph_passes import file_kinds

SUFFIX = ".onnx"
LARGEST_RATIO = 100  # of an archive's contents to the archive; weights shrink by a tenth, rarely by half
ALWAYS_ALLOWED = 2**26  # bytes of contents that need no such ratio
MOST_FILES = 10_000
_ENCRYPTED = 1  # a flag of a file in an archive
_NOT_OURS = ("__MACOSX/",)  # of the Finder of macOS


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Provides the ``.onnx`` file of a model. That of an archive is extracted, and deleted at the end.

    Any other file is provided as it is.

    Raises:
        ValueError: a folder or an archive does not hold exactly one model, or an archive is damaged or unsafe. The
            message is one line.
        OSError: a file cannot be read, or the temporary folder cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        yield _of_folder(path)
    elif is_archive(path):
        with tempfile.TemporaryDirectory(prefix="loopwright-") as folder:
            yield _extracted(path, Path(folder))
    else:
        yield path


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Returns whether a file is a zip archive, whatever its name."""
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")  # the second one begins an empty archive


def _of_folder(folder: Path) -> Path:
    files = sorted(file for file in folder.iterdir() if file.suffix == SUFFIX and file.is_file())
    if file_kinds.is_saved_model(folder):
        files = []
    if len(files) == 1:
        return files[0]
    if files:
        raise ValueError(
            f"{folder} has {len(files)} models: {file_kinds.listed([f.name for f in files])}; give one of them"
        )
    raise ValueError(f"{folder} is not a model: {file_kinds.of_folder(folder)}")


def _extracted(path: Path, folder: Path) -> Path:
    """Extracts the model of an archive, and what lies next to it or below, to ``folder``."""
    try:
        with zipfile.ZipFile(path) as archive:
            files = [info for info in archive.infolist() if not info.is_dir()]
            _check(path, files, folder)
            model = _model_of(path, files)
            within = PurePosixPath(model).parent
            for info in files:
                if PurePosixPath(info.filename).is_relative_to(within):
                    target = folder / info.filename
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(info) as source, open(target, "xb") as written:
                        shutil.copyfileobj(source, written, 2**20)
            return folder / model
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is not a model: it is a damaged or truncated zip archive ({reason})") from None
    except NotImplementedError as error:
        raise ValueError(f"{path}: this kind of zip archive is not supported ({error}); unpack it") from None


def _check(path: Path, files: Sequence[zipfile.ZipInfo], folder: Path) -> None:
    """Raises ValueError if an archive has unsafe names, or contents that are too large."""
    if len(files) > MOST_FILES:
        raise ValueError(f"{path} has {len(files)} files; an archive of a model may have {MOST_FILES}")
    names = [info.filename for info in files]
    for info in files:
        name = info.filename
        if name.startswith("/") or "\\" in name or ":" in name or ".." in PurePosixPath(name).parts:
            raise ValueError(f"{path} is not safe: its file {name!r} leaves the folder")
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise ValueError(f"{path} is not safe: its file {name!r} is a link or a device")
        if info.flag_bits & _ENCRYPTED:
            raise ValueError(f"{path} is encrypted; unpack it")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{path} has its file {twice!r} twice")
    size, packed = sum(info.file_size for info in files), path.stat().st_size
    if size > ALWAYS_ALLOWED and size > LARGEST_RATIO * packed:
        raise ValueError(
            f"{path} is not safe: {packed} bytes become {size}, more than {LARGEST_RATIO} times as many; unpack it if "
            "you trust it"
        )
    free = shutil.disk_usage(folder).free
    if size > free:
        raise ValueError(f"{path} has {size} bytes of files, and {folder.parent} has room for {free}")


def _model_of(path: Path, files: Sequence[zipfile.ZipInfo]) -> str:
    names = [info.filename for info in files if not info.filename.startswith(_NOT_OURS)]
    models = sorted(name for name in names if name.endswith(SUFFIX) and not PurePosixPath(name).name.startswith("._"))
    if len(models) == 1:
        return models[0]
    if models:
        raise ValueError(
            f"{path} has {len(models)} models: {file_kinds.listed(models)}; an archive must have one; unpack it"
        )
    raise ValueError(f"{path} is not a model: {file_kinds.of_archive(names)}")
