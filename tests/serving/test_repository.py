"""Versions: loading, upgrades, failures, labels and uploads."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import numpy as np
import onnx
import pytest

import compiler
from tests.graph_passes.models import model
from tests.serving.client import Answer, Server
from tests.serving.models import affine, write_version

AddVersion = Callable[..., Path]
Start = Callable[..., Server]
TOKEN = "0123456789abcdef"  # noqa: S105 - of a server on this machine


@pytest.fixture
def admin(start: Start, tmp_path: Path) -> Callable[[], Server]:
    """Returns a function that starts a server with an admin port."""
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    return lambda: start("--admin-port", "0", "--admin-token-file", str(token))


def call(server: Server, method: str, path: str, body: object = None) -> Answer:
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
    return server.request(method, path, data, {"Authorization": f"Bearer {TOKEN}"}, port="admin")


def test_the_latest_version_is_served(add_version: AddVersion, start: Start) -> None:
    add_version(1)
    add_version(3)
    server = start()
    assert server.scale() == 3
    assert server.infer([[1, 1, 1, 1]], version="1").status == 404
    assert server.index()[3] == ("READY", "")


def test_folders_whose_names_are_not_valid(add_version: AddVersion, start: Start, tmp_path: Path) -> None:
    add_version(1)
    for name in ("my model", ".git", "affine/01", "affine/v2", "affine/.tmp"):
        (tmp_path / "repository" / name).mkdir()
    (tmp_path / "repository" / "a file").touch()
    server = start()
    assert server.scale() == 1
    (tmp_path / "repository" / "-late").mkdir()
    add_version(2)
    server.wait_for_state(2, "READY")  # several looks later
    server.wait_until(lambda: server.scale() == 2)
    assert server.stop() == 0
    assert server.process.stderr
    log = [line.partition(" ")[2] for line in server.process.stderr.read().splitlines() if "ignored" in line]
    grammar = "must be 1 to 128 letters, digits, '_', '-' or '.', and begin with a letter or digit"
    number = "must be a number from 1 up, without leading zeros"
    event = 'event="a folder is ignored" reason='
    assert sorted(log) == [
        f"{event}\"the model name '-late' {grammar}\"",
        f"{event}\"the model name 'my model' {grammar}\"",
        f"model=affine {event}\"the version '01' {number}\"",
        f"model=affine {event}\"the version 'v2' {number}\"",
    ]


@pytest.mark.parametrize(("policy", "ready"), [('"all"', {1, 2, 3}), ("2", {2, 3}), ("[1, 2]", {1, 2})])
def test_version_policies(add_version: AddVersion, start: Start, tmp_path: Path, policy: str, ready: set[int]) -> None:
    for number in (1, 2, 3):
        add_version(number)
    (tmp_path / "repository" / "affine" / "config.toml").write_text(f"versions = {policy}\n")
    server = start()
    assert {number for number, (state, _) in server.index().items() if state == "READY"} == ready
    for number in ready:
        assert server.scale(str(number)) == number


def test_an_upgrade_loses_no_request(add_version: AddVersion, start: Start) -> None:
    """triton#2076: the old version serves until the new one is ready."""
    add_version(1)
    server = start()
    seen: list[float] = []
    failures: list[str] = []
    done = threading.Event()

    def send() -> None:
        while not done.is_set():
            answer = server.infer([[1, 1, 1, 1]])
            if answer.status == 200:
                seen.append(answer.json["outputs"][0]["data"][0] - 1)
            else:
                failures.append(answer.error)

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in (2, 3, 4):
        add_version(number)
        server.wait_for_state(number, "READY")
    time.sleep(0.1)
    done.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert set(seen) == {1, 2, 3, 4}
    assert server.index()[1][0] == "UNAVAILABLE"


def test_a_half_copied_version_is_not_served(add_version: AddVersion, start: Start, tmp_path: Path) -> None:
    """tfs#1086, tfs#572: a version is served when all of its files are there, and looked at until then."""
    add_version(1)
    server = start()
    whole = add_version(2, "other")
    half = tmp_path / "repository" / "affine" / "2"
    shutil.copytree(whole, half, ignore=shutil.ignore_patterns("weights.bin"))
    reason = server.wait_for_state(2, "UNAVAILABLE")
    while not reason:
        reason = server.wait_for_state(2, "UNAVAILABLE")
    assert "weights.bin is missing" in reason
    assert server.scale() == 1
    shutil.copy(whole / "model.lw" / "weights.bin", half / "model.lw")
    server.wait_for_state(2, "READY")
    assert server.scale() == 2


def test_a_broken_version_leaves_the_old_one(add_version: AddVersion, start: Start, tmp_path: Path) -> None:
    add_version(1)
    server = start()
    broken = tmp_path / "repository" / "affine" / "2" / "model.lw"
    broken.mkdir(parents=True)
    (broken / "manifest.json").write_text("{}")
    end = time.monotonic() + 20
    while "manifest" not in server.index().get(2, ("", ""))[1]:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert server.scale() == 1
    assert server.request("GET", "/v2/health/ready").status == 200


def test_a_failed_load_is_tried_again(start: Start, tmp_path: Path) -> None:
    """tfs#1738: a load that failed is tried again, although no file of the version has changed."""
    write_version(tmp_path / "repository" / "affine" / "1", affine(1), 'runtime = "loopwright"\n')
    cache = tmp_path / "cache"
    cache.write_text("a file where the folder of compiled models belongs")
    server = start("--cache", str(cache))
    states = set()
    while "LOADING" not in states:  # a retry, during which the reason stays
        state, reason = server.index()[1]
        assert reason
        assert server.infer([[1, 1, 1, 1]]).error.endswith("GET /v2/repository/index has the reasons")
        states.add(state)
    cache.unlink()
    server.wait_for_state(1, "READY", secs=120)
    assert server.scale() == 1


def test_broken_models_hold_up_no_other(add_version: AddVersion, start: Start, tmp_path: Path) -> None:
    """triton#6534, triton#6710: new versions are found while other models cannot be loaded."""
    write_version(tmp_path / "repository" / "broken" / "1", affine(1), "")
    (tmp_path / "repository" / "broken" / "1" / "model.onnx").write_bytes(b"no model")
    waiting = tmp_path / "repository" / "waiting"
    waiting.mkdir()
    os.mkfifo(waiting / "config.toml")
    add_version(1)
    server = start()
    for number in (2, 3):
        add_version(number)
        server.wait_for_state(number, "READY")
    assert server.scale() == 3
    assert "differs" in server.index("broken")[1][1]
    assert "not a file" in server.index("waiting")[0][1]


def test_what_is_not_a_file_holds_up_no_model(start: Start, tmp_path: Path) -> None:
    """A FIFO is not opened, which would wait for ever; a link to a large folder is not followed to its end."""
    repository = tmp_path / "repository"
    for name, path in (("sums", "SHA256SUMS"), ("manifest", "model.lw/manifest.json"), ("onnx", "model.onnx")):
        place = repository / name / "1" / path
        place.parent.mkdir(parents=True)
        os.mkfifo(place)
    (repository / "linked" / "1").mkdir(parents=True)
    (tmp_path / "large").mkdir()
    for number in range(10_000):
        (tmp_path / "large" / str(number)).touch()
    (repository / "linked" / "1" / "link").symlink_to(tmp_path / "large")
    server = start()  # returns when all models were looked at
    for name, path in (("sums", "SHA256SUMS"), ("manifest", "model.lw/manifest.json"), ("onnx", "model.onnx")):
        assert server.index(name)[1][1] == f"{path} is neither a file nor a folder"
    assert "more than 10000 entries" in server.index("linked")[1][1]
    assert server.stop() == 0


def test_a_version_takes_over_after_it_has_run(start: Start, tmp_path: Path) -> None:
    """tfs#385, tfs#733, tfs#910: no request is the first run of a version; one that cannot run takes none."""
    pytest.importorskip("onnxruntime")

    def gather(number: int, place: int) -> None:
        made = model("g (float[n] x) => (float[1] y) <int64[1] i> { y = Gather (x, i) }", i=[place])
        write_version(tmp_path / "repository" / "gather" / str(number), made, 'runtime = "onnxruntime"\n')

    gather(1, 0)
    server = start()
    server.wait_for_state(1, "READY", "gather")
    gather(2, 9)  # out of bounds, which its first run finds
    while not (reason := server.wait_for_state(2, "UNAVAILABLE", "gather")):
        time.sleep(0.02)
    assert "indices" in reason
    assert server.infer([5], "gather").json["outputs"][0]["data"] == [5]


def test_a_load_holds_up_no_request(add_version: AddVersion, start: Start, tmp_path: Path) -> None:
    """triton#7014: while a version loads, the server and the model are ready, and the old version serves."""
    add_version(1)
    server = start()
    write_version(tmp_path / "repository" / "affine" / "2", affine(2), "")  # compiled when it is loaded
    served = 0
    end = time.monotonic() + 120
    while (state := server.index().get(2, ("", ""))[0]) != "READY":
        assert time.monotonic() < end
        assert server.request("GET", "/v2/health/ready").status == 200
        assert server.request("GET", "/v2/models/affine/ready").status == 200
        assert server.scale() in (1, 2)
        served += state == "LOADING"
    assert served > 3
    assert server.scale() == 2


def test_a_version_is_immutable(add_version: AddVersion, start: Start) -> None:
    """tfs#1822: a version that is overwritten in place is not taken for a new one."""
    folder = add_version(1)
    server = start()
    (folder / "model.lw" / "notes.txt").write_text("changed")
    end = time.monotonic() + 20
    while "immutable" not in server.index()[1][1]:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert server.scale() == 1


def test_a_wrong_configuration_is_named(add_version: AddVersion, start: Start, tmp_path: Path) -> None:
    add_version(1)
    config = tmp_path / "repository" / "affine" / "config.toml"
    config.write_text("instance = 2\n")
    server = start()
    config.write_text("threads = 1\n")
    server.wait_for_state(1, "READY")
    config.write_text("thread = 1\n")
    end = time.monotonic() + 20
    while "thread is not an entry; choose from" not in server.index()[1][1]:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert server.scale() == 1  # what is ready stays


def test_a_model_that_is_removed(add_version: AddVersion, start: Start, tmp_path: Path) -> None:
    add_version(1)
    add_version(1, "other")
    server = start()
    shutil.rmtree(tmp_path / "repository" / "other")
    end = time.monotonic() + 20
    while server.infer([[1, 1, 1, 1]], "other").status != 404:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert server.scale() == 1


def test_load_and_unload(add_version: AddVersion, admin: Callable[[], Server]) -> None:
    add_version(1)
    server = admin()
    assert call(server, "POST", "/v2/repository/models/affine/unload").status == 200
    assert server.infer([[1, 1, 1, 1]]).status == 503
    assert call(server, "POST", "/v2/repository/models/affine/load").status == 200
    assert server.scale() == 1
    for _ in range(2):
        answer = call(server, "POST", "/v2/repository/models/none/load")
        assert (answer.status, "no model 'none'" in answer.error) == (404, True)


def test_a_load_applies_a_changed_configuration(admin: Callable[[], Server], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    folder = tmp_path / "repository" / "affine"
    write_version(folder / "1", affine(1), 'runtime = "onnxruntime"\nthreads = 1\n')
    server = admin()

    def load(config: str) -> Answer:
        (folder / "config.toml").write_text(config)
        return call(server, "POST", "/v2/repository/models/affine/load")

    def instances() -> int:
        return len(server.series("loopwright_instance_cores"))

    override = {"parameters": {"config": '{"max_batch_size": 1}'}}
    answer = call(server, "POST", "/v2/repository/models/affine/load", override)
    assert (answer.status, 'no parameters, got "config"; change config.toml' in answer.error) == (400, True)
    two = 'runtime = "onnxruntime"\nthreads = 1\ninstances = 2\n'
    assert load(two).status == 200
    assert (instances(), server.scale()) == (2, 1)
    for _ in range(2):
        answer = load('runtime = "openvino"\n[parameters]\nnone = "1"\n')
        assert (answer.status, "its configuration changed, and fails: " in answer.error) == (400, True)
    state, reason = server.index()[1]
    assert (state, "configuration changed" in reason) == ("READY", True)
    assert (instances(), server.scale()) == (2, 1)
    assert load(two).status == 200
    assert server.index()[1] == ("READY", "")


def test_loading_a_broken_model_is_an_error_each_time(admin: Callable[[], Server], tmp_path: Path) -> None:
    """triton#3802: the second load of a bad model is an error too."""
    folder = tmp_path / "repository" / "affine" / "1"
    folder.mkdir(parents=True)
    server = admin()
    for _ in range(3):
        answer = call(server, "POST", "/v2/repository/models/affine/load")
        assert (answer.status, "none of the files" in answer.error) == (400, True)


def test_parallel_loads_load_once(add_version: AddVersion, admin: Callable[[], Server]) -> None:
    """triton#7018: loads at the same time load a version once."""
    add_version(1)
    server = admin()
    assert call(server, "POST", "/v2/repository/models/affine/unload").status == 200
    statuses: list[int] = []

    def load() -> None:
        statuses.append(call(server, "POST", "/v2/repository/models/affine/load").status)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 4
    server.process.terminate()
    _, log = server.process.communicate(timeout=60)
    assert log.count('event="loading"') == 2  # at the start, and after the unload


def test_unloading_returns_memory(admin: Callable[[], Server], tmp_path: Path) -> None:
    """triton#4528, #4764, #4966, #7020, tfs#1664, ovms#2102: loads and unloads do not add up in memory."""
    weights = np.ones((1024, 1024), np.float32)  # 4 MiB
    made = model("g (float[1,1024] x) => (float[1,1024] y) <float[1024,1024] w> { y = MatMul (x, w) }", w=weights)
    place = tmp_path / "repository" / "large" / "1" / "model.lw"
    place.parent.mkdir(parents=True)
    compiler.build(made, threads=1).save(place)
    server = admin()

    def cycles(count: int) -> float:
        for _ in range(count):
            for what in ("unload", "load"):
                assert call(server, "POST", f"/v2/repository/models/large/{what}").status == 200
            assert server.infer(weights[:1], "large").status == 200
        text = server.request("GET", "/metrics", port="metrics").body.decode()
        return float(text.split("\nloopwright_resident_bytes ")[1].split()[0])

    before = cycles(10)
    assert cycles(20) < before * 1.05 + 4e6  # less than the weights of one version


def test_promotion_and_roll_back(add_version: AddVersion, admin: Callable[[], Server], start: Start) -> None:
    add_version(1)
    server = admin()
    assert call(server, "POST", "/v2/models/affine/labels/stable", {"version": 1}).status == 200
    add_version(2)
    server.wait_for_state(2, "READY")
    assert server.scale() == 1
    assert server.scale("2") == 2
    assert call(server, "POST", "/v2/models/affine/labels/stable", {"version": 2}).status == 200
    assert server.scale() == server.scale("stable") == 2
    assert call(server, "POST", "/v2/models/affine/labels/stable/rollback").status == 200
    assert server.scale() == 1
    answer = call(server, "POST", "/v2/models/affine/labels/stable", {"version": 9})
    assert (answer.status, answer.error) == (400, "version 9 of 'affine' does not exist")
    server.stop()
    assert start().scale() == 1  # kept


def test_a_canary_gets_its_share(add_version: AddVersion, admin: Callable[[], Server]) -> None:
    add_version(1)
    server = admin()
    call(server, "POST", "/v2/models/affine/labels/stable", {"version": 1})
    add_version(2)
    server.wait_for_state(2, "READY")
    assert call(server, "POST", "/v2/models/affine/labels/canary", {"version": 2, "percent": 25}).status == 200
    answers = [server.scale() for _ in range(400)]
    assert 50 <= answers.count(2) <= 160  # 100 +- 7 standard deviations


def test_the_admin_port_wants_its_token(add_version: AddVersion, admin: Callable[[], Server]) -> None:
    """torchserve#47, CVE-2023-43654: strangers load nothing, and nobody makes the server fetch an address."""
    add_version(1)
    server = admin()
    for name in ("http://127.0.0.1:1/m", "file:///etc", "..", "a/b"):
        answer = call(server, "POST", f"/v2/repository/models/{quote(name, safe='')}/load")
        assert (answer.status, "name" in answer.error) == (400, True), answer.body
    address = {"parameters": {"url": "http://127.0.0.1:1/m", "file:1/model.onnx": "AAAA"}}
    assert call(server, "POST", "/v2/repository/models/affine/load", address).status == 400
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {TOKEN}x"}):
        answer = server.request("POST", "/v2/repository/models/affine/unload", headers=headers, port="admin")
        assert answer.status == 401
    assert server.request("POST", "/v2/repository/models/affine/unload").status == 404  # not on the port of clients


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_upload(add_version: AddVersion, admin: Callable[[], Server], compiled: Callable[[float], Path]) -> None:
    add_version(1)
    server = admin()
    files = {f"model.lw/{name}": data for name, data in files_of(compiled(5.0)).items()}
    place = "/v2/models/affine/versions/5"
    for name, data in files.items():
        for offset in range(0, max(len(data), 1), 1000):
            answer = call(server, "PUT", f"{place}/files/{name}?offset={offset}", data[offset : offset + 1000])
            assert answer.status == 200, answer.body
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    wrong = digests | {"model.lw/weights.bin": "0" * 64}
    assert "differs from its digest" in call(server, "POST", place, {"files": wrong}).error
    assert call(server, "POST", place, {"files": digests}).status == 200
    server.wait_for_state(5, "READY")
    assert server.scale() == 5
    again = call(server, "PUT", f"{place}/files/model.lw/weights.bin", b"x")
    assert (again.status, "immutable" in again.error) == (409, True)


@pytest.mark.parametrize("path", ["../1/x", "..%2f..%2fx", "%2fetc%2fx", "a/../../x", ".hidden"])
def test_an_upload_stays_in_its_folder(
    add_version: AddVersion, admin: Callable[[], Server], tmp_path: Path, path: str
) -> None:
    """kserve PR#4612, kserve#4206: no path of an upload leaves its folder."""
    add_version(1)
    server = admin()
    before = sorted(tmp_path.rglob("*"))
    answer = call(server, "PUT", f"/v2/models/affine/versions/2/files/{path}", b"x")
    assert answer.status in (400, 404)
    assert sorted(path for path in tmp_path.rglob("*") if ".staging" not in path.parts) == before
    assert call(server, "PUT", f"/v2/models/{path}/versions/2/files/x", b"x").status in (400, 404)


def test_other_weights_of_the_same_graph(start: Start, tmp_path: Path) -> None:
    """The cache of compiled models has the digests of external weights, too."""
    for number in (1, 2):
        folder = tmp_path / "repository" / "affine" / str(number)
        folder.mkdir(parents=True)
        made = model(
            "g (float[1,4] x) => (float[1,4] y) <float[4,4] w, float[1,4] one> { t = MatMul (x, w) y = Add (t, one) }",
            w=np.eye(4, dtype=np.float32) * number,
            one=np.ones((1, 4), np.float32),
        )
        onnx.save(
            made,
            folder / "model.onnx",
            save_as_external_data=True,
            all_tensors_to_one_file=True,
            location="w.bin",
            size_threshold=0,
        )
        files = sorted(path for path in folder.iterdir())
        sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
        (folder / "SHA256SUMS").write_text("".join(sums))
    (tmp_path / "repository" / "affine" / "config.toml").write_text('versions = "all"\n')
    server = start()
    assert (server.scale("1"), server.scale("2")) == (1, 2)


def test_an_older_version_is_served_after_a_restart(add_version: AddVersion, start: Start, tmp_path: Path) -> None:
    add_version(1)
    (tmp_path / "repository" / "affine" / "2" / "model.lw").mkdir(parents=True)
    server = start()
    assert server.scale() == 1
    assert server.index()[2][0] == "UNAVAILABLE"


def test_parallel_promotions_are_all_kept(add_version: AddVersion, admin: Callable[[], Server]) -> None:
    add_version(1)
    server = admin()
    names = [f"label-{number}" for number in range(24)]
    statuses: list[int] = []

    def promote(name: str) -> None:
        statuses.append(call(server, "POST", f"/v2/models/affine/labels/{name}", {"version": 1}).status)

    threads = [threading.Thread(target=promote, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200}
    assert set(call(server, "GET", "/v2/models/affine/labels").json["labels"]) == set(names)
    assert call(server, "DELETE", "/v2/models/affine/labels/label-3").status == 200
    assert "label-3" not in call(server, "GET", "/v2/models/affine/labels").json["labels"]


def test_a_list_of_digests_that_is_cut_off(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "repository" / "affine" / "1"
    write_version(folder, affine(1), "")
    (folder / "SHA256SUMS").write_text("")
    assert "SHA256SUMS does not have model.onnx" in start().index()[1][1]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('instances = "two"', "instances must be a number"),
        ("instnces = 2", "instnces is not an entry; choose from: "),
        ("= = [", "line 1"),
        ("versions = 0", "versions must be"),
        ("batches = [0, -1]", "batches must list"),
        ("[labels]\n7 = {version = 1}", "must not be a number"),
        ("[labels]\na = {version = 1, percent = 500}", "from 0 to 100"),
    ],
)
def test_a_wrong_configuration_of_a_new_model_is_in_the_index(
    start: Start, tmp_path: Path, config: str, message: str
) -> None:
    write_version(tmp_path / "repository" / "affine" / "1", affine(1), config + "\n")
    entries = start().request("POST", "/v2/repository/index").json
    assert len(entries) == 1
    assert message in entries[0]["reason"]


def test_a_promotion_of_stable_has_no_share(add_version: AddVersion, admin: Callable[[], Server]) -> None:
    add_version(1)
    answer = call(admin(), "POST", "/v2/models/affine/labels/stable", {"version": 1, "percent": 30})
    assert (answer.status, "no percent" in answer.error) == (400, True)
