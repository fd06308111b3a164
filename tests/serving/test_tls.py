"""TLS on the ports of requests and of administration."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from serving.__main__ import main
from serving.client import Client, trust
from serving.program import server_program
from tests.serving.certificates import Pair, pair
from tests.serving.client import Server

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="the program openssl makes the certificates")
TOKEN = "0123456789abcdef"  # noqa: S105 - of a server on this machine
X = np.array([[1, 2, 3, 4]], np.float32)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pair, Pair]:
    """The certificate of the server, and another one."""
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "token").write_text(TOKEN + "\n")
    return pair(folder, "server"), pair(folder, "other")


@pytest.fixture(scope="module")
def server(
    compiled: Callable[[float], Path], pairs: tuple[Pair, Pair], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server of version 2 of ``affine``."""
    repository = tmp_path_factory.mktemp("repository")
    shutil.copytree(compiled(2.0), repository / "affine" / "2" / "model.lw")
    own = pairs[0]
    admin = ("--admin-port", "0", "--admin-token-file", str(own.certificate.with_name("token")))
    running = Server(repository, *own.options, *admin, tls=trust(own.certificate))
    yield running
    running.kill()


def test_https(server: Server) -> None:
    connection = server.connect()
    for number in range(3):  # on one connection
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [number] * 4}
        connection.request("POST", "/v2/models/affine/infer", json.dumps({"inputs": [tensor]}))
        answer = json.loads(connection.getresponse().read())
        assert answer["outputs"][0]["data"] == [2 * number + 1] * 4
    tls = connection.sock
    assert isinstance(tls, ssl.SSLSocket)
    assert tls.version() in ("TLSv1.2", "TLSv1.3")
    connection.close()
    # Longer than a record, and a response that other threads give.
    assert server.infer(X, id="i" * 500_000).json["id"] == "i" * 500_000
    assert server.request("GET", "/metrics", port="metrics").status == 200
    assert server.request("GET", "/v2/models/affine/labels", port="admin").status == 401


def test_a_closed_connection_is_closed_in_tls(server: Server) -> None:
    """Pipelined requests are answered, and the last one ends the connection with an alert, not as if it was cut."""
    one = b"GET /v2/models/affine HTTP/1.1\r\nHost: h\r\n"
    with socket.create_connection(("127.0.0.1", server.ports["http"]), timeout=20) as plain:
        assert server.tls
        tls = server.tls.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False)
        tls.sendall(4 * (one + b"\r\n") + one + b"Connection: close\r\n\r\n")
        received = b""
        while data := tls.recv(65536):
            received += data
        assert received.count(b"HTTP/1.1 200") == 5
        tls.unwrap()  # the server waits for this side's alert


def test_grpc(server: Server, pairs: tuple[Pair, Pair]) -> None:
    triton = pytest.importorskip("tritonclient.grpc", reason="pip install 'tritonclient[grpc,http]'")
    url = f"127.0.0.1:{server.ports['grpc']}"
    x = triton.InferInput("x", [1, 4], "FP32")
    x.set_data_from_numpy(X)
    client = triton.InferenceServerClient(url, ssl=True, root_certificates=str(pairs[0].certificate))
    np.testing.assert_array_equal(client.infer("affine", [x]).as_numpy("y"), 2 * X + 1)
    client.close()
    wrong = triton.InferenceServerClient(url, ssl=True, root_certificates=str(pairs[1].certificate))
    plain = triton.InferenceServerClient(url)
    for bad in (wrong, plain):
        with pytest.raises(triton.InferenceServerException):
            bad.infer("affine", [x])
        bad.close()
    assert server.scale() == 2


def test_a_broken_handshake_costs_its_connection_only(server: Server, pairs: tuple[Pair, Pair]) -> None:
    for port in ("http", "grpc", "admin"):
        silent = [socket.create_connection(("127.0.0.1", server.ports[port]), timeout=20) for _ in range(20)]
        for connection in silent[:10]:
            connection.sendall(b"\x16\x03\x01\x02\x00\x01")  # part of a handshake
        with socket.create_connection(("127.0.0.1", server.ports[port]), timeout=20) as connection:
            connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: h\r\n\r\n")
            received = b""
            try:
                while data := connection.recv(65536):
                    received += data
            except ConnectionResetError:
                pass
            assert b"HTTP" not in received
        assert server.scale() == 2
        for connection in silent:
            connection.close()
    with pytest.raises(OSError, match="is not trusted"):
        Client(port=server.ports["http"], tls=trust(pairs[1].certificate)).metadata("affine")
    with pytest.raises((ValueError, OSError), match="give --tls-ca"):
        Client(port=server.ports["http"]).metadata("affine")
    assert server.scale() == 2


def run(*arguments: object) -> int:
    """Runs a command in this process, and returns its exit code."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return int(str(ended.code))


def test_commands(
    server: Server,
    pairs: tuple[Pair, Pair],
    compiled: Callable[[float], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    own, other = pairs
    requests = ("--http-port", server.ports["http"], "--tls-ca")
    admin = ("--admin-port", server.ports["admin"], "--admin-token-file", own.certificate.with_name("token"))
    for command in (
        ("infer", "affine", *requests, own.certificate),
        ("bench", "affine", *requests, own.certificate, "--duration", 0.1, "--metrics-port", server.ports["metrics"]),
        ("upload", "affine", 1, compiled(1.0), *admin, "--tls-ca", own.certificate),
        ("promote", "affine", 2, *admin, "--tls-ca", own.certificate),
    ):
        assert run(*command) == 0, capsys.readouterr().err
    plain = ("--http-port", server.ports["http"])
    for command in (
        ("infer", "affine", *plain),
        ("bench", "affine", *plain),
        ("upload", "affine", 3, compiled(1.0), *admin),
        ("promote", "affine", 2, *admin),
    ):
        assert run(*command) == 2
        error = capsys.readouterr().err
        assert (error.count("\n"), "give --tls-ca" in error) == (1, True), error
    metrics = ("--http-port", server.ports["metrics"], "--tls-ca", own.certificate)  # a port without TLS
    assert run("infer", "affine", *metrics) == 2
    error = capsys.readouterr().err
    assert (error.count("\n"), "leave out --tls-ca" in error) == (1, True), error
    named = ("--host", "localhost", *requests, own.certificate)  # not a name of the certificate
    assert run("infer", "affine", *named) == 2
    assert "--host a name of it" in capsys.readouterr().err
    for authority, message in (
        (other.certificate, "is not trusted (self-signed certificate); --tls-ca must have it"),
        (own.key, "no certificate in PEM form"),
        (own.key.with_name("none"), "No such file"),
    ):
        assert run("infer", "affine", *requests, authority) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert message in error


def test_files_that_cannot_be_used(
    pairs: tuple[Pair, Pair], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, other = pairs
    for used, message in (
        (Pair(tmp_path / "none", own.key), "No such file"),
        (Pair(own.certificate, tmp_path), "Is a directory"),
        (Pair(own.certificate, other.key), "the key is of another certificate"),
        (Pair(own.key, own.key), "not a certificate in PEM form"),
        (Pair(own.certificate, own.certificate), "not a private key in PEM form"),
    ):
        command = [server_program(), tmp_path, *used.options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert message in done.stderr
    assert run("serve", tmp_path, *own.options[:2]) == 2
    assert "go together" in capsys.readouterr().err


def test_a_server_with_open_connections_stops(
    start: Callable[..., Server], add_version: Callable[..., Path], pairs: tuple[Pair, Pair]
) -> None:
    add_version(1)
    server = start(*pairs[0].options)
    server.tls = trust(pairs[0].certificate)
    idle = server.connect()
    idle.request("GET", "/v2/health/live")
    assert idle.getresponse().read()
    silent = socket.create_connection(("127.0.0.1", server.ports["http"]))
    assert server.stop() == 0
    idle.close()
    silent.close()
