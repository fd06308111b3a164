"""The differences from Triton that have a reason. Any other is an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

MISSING = "(missing)"


@dataclass(frozen=True)
class Known:
    """Patterns, as in a shell, of combinations, of a field, and of the values of both servers; and the reason.

    The values of ``code`` have the messages of errors, too.
    """

    reason: str
    case: str
    field: str
    ours: str
    theirs: str

    def matches(self, case: str, field: str, ours: str, theirs: str) -> bool:
        pairs = ((case, self.case), (field, self.field), (ours, self.ours), (theirs, self.theirs))
        return all(fnmatchcase(value, pattern) for value, pattern in pairs)


_TYPES_OF_16_BITS = "Triton has no JSON of FP16 and BF16"
_CLIENTS_MISTAKE = "a mistake of the request is 400 or INVALID_ARGUMENT, as 500 and INTERNAL are failures of the server"
_NOT_THERE = "a model or version that is not there is 404 or NOT_FOUND in all calls"
_STATE_IN_BODY = "the body has the state, too; without it, KServe's client raises an error"
_IDENTITY = "each server has its name, version and runtimes"
_ROWS = "an open first size is a dimension here, and a batch size in Triton"
_COUNTS = "only Triton measures copies of inputs and outputs, and counts sizes of batches and caches"

KNOWN: tuple[Known, ...] = (
    Known(_TYPES_OF_16_BITS, "*[BF][FP]16*", "code", "ok", "400 * via JSON is not supported*"),
    Known(_TYPES_OF_16_BITS, "kserve rest FP16, *", "code", "ok", "400 *"),
    Known("Triton has no classes of FP16", "* classes rows_of_halves*", "code", "ok", "*unsupported type 'FP16'*"),
    Known(
        "Triton writes words that JSON does not have for NaN and infinity, and bytes that are not UTF-8",
        "message *",
        "code",
        "ok",
        "ok, but not JSON*",
    ),
    Known(
        "outputs have the order of the request; in Triton, that in which the model made them",
        "*several*",
        "order",
        "*",
        "*",
    ),
    Known("an output that is named twice is returned twice", "*an output twice", "raw contents", "2", "1"),
    Known("parameters that the server does not have are ignored", "*a reserved parameter", "code", "ok", "*reserved*"),
    Known(
        "a BOOL is a byte of 0 or 1; others are undefined in runtimes",
        "*BOOL of other bytes",
        "code",
        "*neither 0 nor 1*",
        "ok",
    ),
    Known("Triton keeps the low bits of a number that does not fit", "*a number beyond *", "code", "*element*", "ok"),
    Known("requests have no largest batch", "*a batch above the largest", "code", "ok", "*batch-size must be*"),
    Known(
        "a version may be a label, which is not found",
        "*a version that is not a number",
        "code",
        "*NOT_FOUND*",
        "*INVALID_ARGUMENT*",
    ),
    Known("both mistakes are in the request", "*a region without a size", "code", "400 *", "404 *"),
    Known("a sequence has no negative number", "*a negative sequence", "code", "*sequence_id*", "ok"),
    Known("0 and 1 are accepted as booleans", "*0 and 1 for booleans", "code", "ok", "500 *"),
    Known("null is the same as an absent member", "*an id that is null", "code", "ok", "500 *"),
    Known(
        "raw contents that no input takes are an error", "*raw contents too many", "code", "*INVALID_ARGUMENT*", "ok"
    ),
    Known("an empty name is not valid", "*no name of a model", "code", "*INVALID_ARGUMENT*", "*NOT_FOUND*"),
    Known(_CLIENTS_MISTAKE, "*", "code", "400 *", "500 *"),
    Known(_CLIENTS_MISTAKE, "grpc memory*", "code", "StatusCode.INVALID_ARGUMENT *", "StatusCode.INTERNAL *"),
    Known(_CLIENTS_MISTAKE, "grpc memory*", "code", "StatusCode.FAILED_PRECONDITION *", "StatusCode.INTERNAL *"),
    Known("a region that is registered is 409", "http memory: a region twice", "code", "409 *", "400 *"),
    Known("Triton maps regions at offsets of whole pages", "* memory: a part of a segment", "code", "ok", "*INTERNAL*"),
    Known("Triton maps regions at offsets of whole pages", "* memory: a part of a segment", "code", "ok", "500 *"),
    Known(
        "the response has the bytes that were written, which may be fewer than the range",
        "* memory*",
        "y parameters",
        "*",
        MISSING,
    ),
    Known(_NOT_THERE, "path GET /v2/models/*", "code", "404 *", "400 *"),
    Known(_NOT_THERE, "grpc statistics, no *", "code", "*NOT_FOUND*", "*INVALID_ARGUMENT*"),
    Known("a version that is not ready is 503, as probes expect", "path GET */ready", "code", "503 *", "400 *"),
    Known("the index is also read by GET", "path GET /v2/repository/index", "code", "200 *", "405 *"),
    Known(_STATE_IN_BODY, "path GET */live", "body", "*", ""),
    Known(_STATE_IN_BODY, "path GET */ready", "body", "*", ""),
    Known(_STATE_IN_BODY, "kserve rest *", "code", "ok", "JSONDecodeError *"),
    Known("an empty reason is written", "path POST /v2/repository/index*", "*.reason", "", MISSING),
    Known(_IDENTITY, "path GET /v2", "[nve]*", "*", "*"),
    Known(_IDENTITY, "grpc server metadata", "[nve]*", "*", "*"),
    Known(_IDENTITY, "* metadata of *", "platform", "*", "*"),
    Known(_IDENTITY, "* config of *", "*platform", "*", "*"),
    Known(_ROWS, "* config of rows", "*max_batch_size", "*", "8"),
    Known(_ROWS, "* config of rows", "*dims", "*-1*", "*"),
    Known("a configuration has settings of its server", "* config of *", "other settings", "*", "*"),
    Known(_COUNTS, "* statistics*", "*.compute_*put*", "*", "*"),
    Known(_COUNTS, "* statistics*", "*.batch_stats*", "*", "*"),
    Known(_COUNTS, "* statistics*", "*.cache_*", MISSING, "*"),
    Known(_COUNTS, "path GET statistics*", "*.response_stats", MISSING, "*"),
    Known(_COUNTS, "path GET statistics*", "*.memory_usage", MISSING, "*"),
    Known("a request with a wrong input counts as a failure", "* statistics*", "*.fail*", "*", "*"),
)

# Patterns of combinations that are not sent, and the reason.
NOT_SENT: Mapping[str, str] = {
    "message stream: error, an output twice": "Triton never answers",
    "message *: error, classes of strings": "Triton ends",
}
