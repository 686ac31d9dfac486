"""The driver's connection to a cluster: opened once, looked over once, and asked what its workers say."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dask
from dask.utils import parse_timedelta
from distributed import Client
from distributed.security import Security

from mcwbuild.contract.errors import EnvironmentLacking, McwbuildError
from mcwbuild.contract.events import Emit, Noted
from mcwbuild.engines.dask import task, versions
from mcwbuild.engines.dask.cluster import Cluster, require_safe
from mcwbuild.engines.dask.objects import Objects
from mcwbuild.engines.dask.voice import Ears
from mcwbuild.gate import lacking_disk

if TYPE_CHECKING:
    from mcwbuild.contract.phases import Phase
    from mcwbuild.engines.dask.order import Make

CONNECT = 10.0  # seconds for the scheduler to answer
ANSWER = 30.0  # seconds for a worker to answer: it may have to start uv
SAID_AFTER = 5.0  # seconds of waiting before a line says for what
QUIET = 10.0  # seconds that a command waits for workers where nobody reads such a line
LOST = "engine-lost"


@dataclass
class Link:
    """An open connection. `known` are the workers that have introduced themselves."""

    cluster: Cluster
    client: Client
    objects: Objects
    ears: Ears
    known: set[str] = field(default_factory=set)

    def close(self) -> None:
        """Ends the connection; the cluster goes on."""
        self.client.close()

    def workers(self) -> dict[str, Mapping[str, Any]]:
        """Those that offer what a stage needs: address -> what the scheduler knows. Raises Refused, and as `seen`."""
        seen = self._seen()
        wanted = self.cluster.resources.items()
        return {
            address: worker
            for address, worker in seen.items()
            if all(worker.get("resources", {}).get(name, 0) >= count for name, count in wanted)
        }

    def _seen(self) -> dict[str, Mapping[str, Any]]:
        try:
            told = self.client.scheduler_info()
        except (OSError, TimeoutError) as error:
            raise lost(self.cluster, str(error)) from error
        if self.client.status == "closed" or "address" not in told:
            raise lost(self.cluster, "the connection is closed")
        require_safe(str(told["address"]), "the scheduler")
        for address, worker in told["workers"].items():
            require_safe(address, "a worker")
            if worker.get("nanny"):
                require_safe(str(worker["nanny"]), "a worker's nanny")
        return dict(told["workers"])

    def lacking(self) -> str:
        """Why no worker takes a stage, in one sentence."""
        count = len(self._seen())
        there = f"{count} workers are there" if count != 1 else "One worker is there"
        return (
            f"No worker of {self.cluster.scheduler} offers what a stage needs ({there if count else 'none is there'}); "
            f'start one with: dask worker --resources "{self.cluster.offered}"'
        )

    def awaited(self, emit: Emit | None) -> dict[str, Mapping[str, Any]]:
        """The workers, waited for where there is none yet; a line says so. Raises EnvironmentLacking without `emit`."""
        since, told = time.monotonic(), False
        while not (found := self.workers()):
            waited = time.monotonic() - since
            if emit is None and waited > QUIET:
                raise EnvironmentLacking("The dask engine has no worker.", f"{self.lacking()}.", kind="workers")
            if emit is not None and waited > SAID_AFTER and not told:
                emit(Noted(f"Waiting. {self.lacking()}", "warning"))
                told = True
            time.sleep(0.2)
        self._introduce(found)
        return found

    def _introduce(self, workers: Mapping[str, Mapping[str, Any]]) -> None:
        """Holds the new ones among the workers against this machine. Raises EnvironmentLacking."""
        new = [address for address in workers if address not in self.known]
        if not new:
            return
        probe = secrets.token_hex(8)
        file = self.objects.shared / f"probe-{probe}"
        try:
            file.touch()
            said = self.ask(new, task.introduce, str(self.objects.shared), probe)
        except OSError as error:
            raise lacking_disk(self.objects.shared, error) from error
        finally:
            file.unlink(missing_ok=True)
        here = versions.own()
        for address, word in said.items():
            if isinstance(word, BaseException):  # it has no mcwbuild, or one without a dask engine
                raise versions.mismatch(here, f"one that says {word}", f"the worker {address}")
            if word["version"] != here:
                raise versions.mismatch(here, str(word["version"]), f"the worker {address}")
            if not word["sees"]:
                raise EnvironmentLacking(
                    "A worker does not see the shared folder.",
                    f"The worker {address} on {word['host']} finds no file of this machine's in {self.objects.shared}.",
                    "Give --shared-folder a folder that all machines have at the same path.",
                    kind="shared",
                )
        self.known |= set(said)

    def ask(self, workers: list[str], question: Callable[..., Any], *words: Any) -> dict[str, Any]:
        """What each worker answers, or the exception instead; those that are silent for `ANSWER` seconds are left out.

        Raises EnvironmentLacking where the scheduler is lost.
        """

        async def one(address: str) -> dict[str, Any]:
            options = {"workers": [address], "on_error": "return", "asynchronous": True}
            try:
                return dict(await asyncio.wait_for(self.client.run(question, *words, **options), ANSWER))
            except (TimeoutError, asyncio.TimeoutError):
                return {}

        async def every() -> list[dict[str, Any]]:
            return await asyncio.gather(*(one(address) for address in workers))

        try:
            said: list[dict[str, Any]] = self.client.sync(every)
        except (OSError, TimeoutError) as error:
            raise lost(self.cluster, str(error)) from error
        return {
            address: word
            for part in said
            for address, word in part.items()
            if not isinstance(word, OSError)  # it went away meanwhile
        }

    def answers(self, make: Make, question: task.Question, phase: Phase, emit: Emit | None) -> dict[str, Any]:
        """What the workers' engines say to one of their own questions: address -> answer."""
        while True:
            said = self.ask(list(self.awaited(emit)), task.answer, make, question, phase)
            if said:
                break
        for word in said.values():
            if isinstance(word, BaseException):
                raise word
        return said


def connect(cluster: Cluster) -> Link:
    """The connection, once it is known to be safe and to run this program. Raises EnvironmentLacking, Refused."""
    require_safe(cluster.scheduler, "a scheduler")
    objects = Objects(cluster.shared)
    try:
        cluster.shared.mkdir(parents=True, exist_ok=True)
        objects.sweep()
    except OSError as error:
        raise lacking_disk(cluster.shared, error) from error
    for name in ("distributed", "distributed.client", "distributed.core", "distributed.comm"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong is told as an error, once
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # versions that differ become one error below
            client = Client(cluster.scheduler, security=_security(cluster), timeout=_patience(), set_as_default=False)
    except (OSError, TimeoutError, ValueError, TypeError, RuntimeError) as error:
        cause = error.__cause__ or error
        raise EnvironmentLacking(
            f"The scheduler {cluster.scheduler} cannot be reached.",
            f"Dask says: {' '.join(str(cause).split())[:300] or type(cause).__name__}.",
            "Start it (docs/dask.md), correct --scheduler, or give the TLS files that it trusts.",
            kind="scheduler",
        ) from error
    link = Link(cluster, client, objects, Ears())
    try:
        link.workers()
        said = client.run_on_scheduler(versions.own)
        if said != versions.own():
            raise versions.mismatch(versions.own(), str(said), "the scheduler")
    except McwbuildError:
        client.close()
        raise
    except (ImportError, AttributeError, OSError) as error:
        client.close()
        raise versions.mismatch(versions.own(), f"one that says {error}", "the scheduler") from error
    link.ears.open(client)
    return link


def _patience() -> float:
    """Seconds for the scheduler to answer; Dask's own configuration may say less."""
    own: float = parse_timedelta(dask.config.get("distributed.comm.timeouts.connect"))
    return min(CONNECT, own)


def _security(cluster: Cluster) -> Security | None:
    if not cluster.scheduler.startswith("tls://"):
        return None
    if cluster.ca is None:
        return Security(require_encryption=True)  # the files are in Dask's own configuration
    return Security(
        tls_ca_file=str(cluster.ca),
        tls_client_cert=str(cluster.cert),
        tls_client_key=str(cluster.key),
        require_encryption=True,
    )


def lost(cluster: Cluster, why: str) -> EnvironmentLacking:
    """The error for a scheduler that is not there any more."""
    return EnvironmentLacking(
        f"The scheduler {cluster.scheduler} was lost.",
        f"Dask says: {' '.join(why.split())[:300] or 'nothing'}.",
        "Start it again, and run again: what is done stays done.",
        kind=LOST,
    )
