"""Which cluster, and what may be said to it: everybody who reaches a Dask scheduler can run code on its machines."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mcwbuild.contract.errors import InputError, Refused

SLOT = "mcwbuild"  # a worker's Dask resource: how many stages it runs at once
DOCKER = "docker"  # the same for those of the docker engine
ENGINES = ("auto", "docker", "local")


@dataclass(frozen=True)
class Cluster:
    """A scheduler's address, a folder that driver and workers have at the same path, TLS files, the workers' engine."""

    scheduler: str
    shared: Path
    engine: str = "auto"
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @property
    def resources(self) -> dict[str, float]:
        """What a worker must offer."""
        return {SLOT: 1, **({DOCKER: 1} if self.engine == "docker" else {})}

    @property
    def offered(self) -> str:
        """The same as `dask worker --resources` takes it."""
        return " ".join(f"{name}={count:g}" for name, count in self.resources.items())


def given(
    scheduler: str | None, shared: Path | None, engine: str, ca: Path | None, cert: Path | None, key: Path | None
) -> Cluster | None:
    """The cluster that the options name; None where they name none. Raises InputError where they name half of one."""
    if scheduler is None:
        return None
    if shared is None:
        raise InputError(
            "The dask engine needs a shared folder.",
            f"The scheduler is {scheduler}, and no --shared-folder is given.",
            "Give --shared-folder a folder that this machine and the workers have at the same path.",
        )
    tls = {"--dask-tls-ca": ca, "--dask-tls-cert": cert, "--dask-tls-key": key}
    lacking = [flag for flag, path in tls.items() if path is None]
    if 0 < len(lacking) < len(tls):
        raise InputError(
            "TLS needs three files.", f"{' and '.join(lacking)} are not given.", "Give the three of them, or none."
        )
    gone = [f"{flag} {path}" for flag, path in tls.items() if path is not None and not path.is_file()]
    if gone:
        raise InputError("There is no such TLS file.", f"{', '.join(gone)}.", "Correct the path.", kind="missing")
    return Cluster(scheduler, shared.absolute(), engine, ca, cert, key)


def require_safe(address: str, whose: str) -> None:
    """Raises Refused unless nobody else can speak to, or listen at, this address: TLS, or this machine alone."""
    parts = urlsplit(address)
    if parts.scheme == "tls" or (parts.scheme == "tcp" and _is_loopback(parts.hostname or "")):
        return
    raise Refused(
        f"{address} is no safe address of {whose}.",
        "Who reaches it can run code on every machine of the cluster; "
        + ("without TLS that is everybody on its network." if parts.scheme == "tcp" else "tls:// is known to be safe."),
        "Start scheduler and workers with TLS and give tls://..., or with --host 127.0.0.1 on one machine.",
        kind="address",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
