"""Certificates for servers on this machine, by the program openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple


class Pair(NamedTuple):
    certificate: Path
    key: Path

    @property
    def options(self) -> tuple[str, ...]:
        return "--tls-certificate", str(self.certificate), "--tls-key", str(self.key)


def pair(folder: Path, name: str) -> Pair:
    """Makes a certificate that signs itself, and its key."""
    made = Pair(folder / f"{name}.pem", folder / f"{name}-key.pem")
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    about = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", made.key, "-out", made.certificate]
    subprocess.run(["openssl", "req", "-x509", *kind, *about, *files], check=True, capture_output=True)
    return made
