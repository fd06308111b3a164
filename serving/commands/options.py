"""The options that commands to a running server share."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from serving.admin import Admin


def port(text: str) -> int:
    """Parses the number of a port; 0 stands for a free one."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def add_server(parser: argparse.ArgumentParser) -> None:
    """Adds the address of a server's HTTP port."""
    parser.add_argument("--host", default="127.0.0.1", help="the server (default: %(default)s)")
    parser.add_argument("--http-port", type=port, default=8000, help="its port of requests (default: %(default)s)")


def add_admin(parser: argparse.ArgumentParser) -> None:
    """Adds the address and the token of an admin port."""
    parser.add_argument("--host", default="127.0.0.1", help="the server (default: %(default)s)")
    parser.add_argument("--admin-port", type=port, required=True, help="its admin port")
    parser.add_argument("--admin-token-file", type=Path, required=True, help="the file whose first line is its token")


def admin(arguments: argparse.Namespace) -> Admin:
    """Returns the admin port that :func:`add_admin` describes.

    Raises:
        ValueError: the file has no token.
        OSError: it cannot be read.
    """
    file = arguments.admin_token_file
    try:
        lines = file.read_text().splitlines()
    except UnicodeDecodeError:
        lines = []
    except OSError as error:
        raise OSError(f"argument --admin-token-file: cannot read {file}: {error.strerror}") from None
    if not lines or not lines[0]:
        raise ValueError(f"argument --admin-token-file: {file} has no token in its first line")
    return Admin(arguments.host, arguments.admin_port, lines[0])
