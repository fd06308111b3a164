"""Messages of errors."""

from __future__ import annotations


def one_line(error: BaseException) -> str:
    """Returns the message of an error, whose own library may write several lines, on one line."""
    return " ".join(str(error).split())
