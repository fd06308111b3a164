"""The comparison with Triton finds differences. ``python -m tests.serving.against_triton`` makes it with a Triton."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("tritonclient", reason="pip install 'tritonclient[grpc,http]'")
from tests.serving.against_triton.__main__ import main
from tests.serving.against_triton.answers import Answer, of_http_response
from tests.serving.against_triton.compare import Difference, differences, lines
from tests.serving.against_triton.known import Known

BODY = b'{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[%s]}]}'


def test_differences() -> None:
    one, two = (of_http_response(200, {}, BODY % number) for number in (b"1", b"1.0000001"))
    assert differences("case", one, one, ()) == []
    (found,) = differences("case", one, two, ())
    assert (found.field, found.ours, found.theirs) == ("y values", "0000803f", "0100803f")
    error = Answer({"code": "400"}, "wrong")
    assert differences("case", one, error, ()) == [Difference("case", "code", "ok", "400 wrong", None)]
    rule = Known("a reason", "c*", "code", "ok", "400 *")
    assert differences("case", one, error, [rule]) == [Difference("case", "code", "ok", "400 wrong", rule)]
    assert differences("other", one, error, [rule])[0].known is None


def test_lines() -> None:
    rule = Known("a reason", "*", "*", "*", "*")
    found = [Difference("a", "code", "ok", "400 wrong", rule), Difference("b", "code", "ok", "500", None)]
    report = lines(3, found, [rule])
    assert report[0] == "3 combinations: 1 agree, 1 differ without a known reason"
    assert report[1:3] == ["known, 1 combinations: a reason", "    such as a: code: ours ok | Triton 400 wrong"]
    assert report[-1] == "b: code: ours ok | Triton 500"


def test_a_folder_without_triton(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--triton", str(tmp_path)])
    assert ended.value.code == 2
    assert "nvidia-pytriton" in capsys.readouterr().err
