"""The options that commands to a running server share."""

from __future__ import annotations

import argparse
import re
import ssl
from pathlib import Path

from serving.admin import Admin
from serving.client import trust


def port(text: str) -> int:
    """Parses the number of a port; 0 stands for a free one."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def add_server(parser: argparse.ArgumentParser) -> None:
    """Adds the address of a server's HTTP port."""
    parser.add_argument("--host", default="127.0.0.1", help="the server (default: %(default)s)")
    parser.add_argument("--http-port", type=port, default=8000, help="its port of requests (default: %(default)s)")
    _add_tls(parser)


def add_admin(parser: argparse.ArgumentParser) -> None:
    """Adds the address and the token of an admin port."""
    parser.add_argument("--host", default="127.0.0.1", help="the server (default: %(default)s)")
    parser.add_argument("--admin-port", type=port, required=True, help="its admin port")
    parser.add_argument("--admin-token-file", type=Path, required=True, help="the file whose first line is its token")
    _add_tls(parser)


def _add_tls(parser: argparse.ArgumentParser) -> None:
    about = "connect with TLS, and trust the certificates of this file (default: without TLS)"
    parser.add_argument("--tls-ca", type=Path, metavar="FILE", help=about)


def tls(arguments: argparse.Namespace) -> ssl.SSLContext | None:
    """Returns the settings of TLS that ``--tls-ca`` selects.

    Raises:
        ValueError, OSError: as :func:`serving.client.trust`.
    """
    if arguments.tls_ca is None:
        return None
    try:
        return trust(arguments.tls_ca)
    except (ValueError, OSError) as error:
        raise type(error)(f"argument --tls-ca: {error}") from None


def admin(arguments: argparse.Namespace) -> Admin:
    """Returns the admin port that :func:`add_admin` describes.

    Raises:
        ValueError: the file has no token, or that of ``--tls-ca`` no certificate.
        OSError: one of them cannot be read.
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
    return Admin(arguments.host, arguments.admin_port, lines[0], tls(arguments))
