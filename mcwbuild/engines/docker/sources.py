"""Where the packages of an image come from: a wheelhouse, or indexes named in options and the usual variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mcwbuild.contract.errors import InputError
from mcwbuild.engines import torch_source, uvtool
from mcwbuild.engines.docker import wheelhouse
from mcwbuild.engines.docker.recipes import Recipe

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
# A build's variable, and the caller's variables that it is taken from, the first that is set
_INDEXES = {
    "PIP_INDEX_URL": ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "PIP_EXTRA_INDEX_URL": ("PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"),
}
_BUNDLES = ("PIP_CERT", "SSL_CERT_FILE")


@dataclass(frozen=True)
class Sources:
    """What the options say; what they leave open is taken from the environment."""

    house: Path | None = None
    index_url: str | None = None
    extra_index_url: str | None = None
    ca_bundle: Path | None = None
    wheel: Path | None = None  # an own one of RKNN-Toolkit2

    @property
    def network(self) -> bool:
        """False where the wheelhouse has everything: then the build runs without a network."""
        return self.house is None

    def arguments(self, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
        """The build arguments for indexes and proxies; none without a network.

        Folders of this machine do not exist in a build: only addresses with a host are given on.
        """
        if not self.network:
            return {}
        given = {"PIP_INDEX_URL": self.index_url, "PIP_EXTRA_INDEX_URL": self.extra_index_url}
        made = {}
        for name, sources in _INDEXES.items():
            value = given[name] or next((environment[key] for key in sources if environment.get(key)), "")
            made[name] = _remote(value)
        made["PIP_FIND_LINKS"] = _remote(" ".join(uvtool.wheel_folders(environment)))
        for name in _PROXIES:
            value = environment.get(name) or environment.get(name.lower()) or ""
            made |= {name: value, name.lower(): value}
        return {name: value for name, value in made.items() if value}

    def files(self, recipe: Recipe, environment: Mapping[str, str] = os.environ) -> dict[str, Path | bytes]:
        """What the build context needs beside the recipe's files: wheels, the CA bundle. Raises InputError."""
        if self.house is not None:
            return wheelhouse.take(self.house, recipe, self.wheel)
        context: dict[str, Path | bytes] = {}
        if self.wheel is not None:
            context[f"wheels/{recipe.phase.name}/{self.wheel.name}"] = self.wheel
        if recipe.torch == "cpu" and (folder := torch_source.wheel_folder(recipe.torch_lock)):
            sums = wheelhouse.pinned(recipe.torch_lock.read_bytes())
            wheels = (path for path in Path(folder).glob("*.whl") if wheelhouse.key(path) in sums)
            context |= {f"wheels/{recipe.torch_lock.stem}/{path.name}": path for path in wheels}
        if bundle := self._bundle(environment):
            context["ca/ca-bundle.pem"] = bundle
        return context

    def _bundle(self, environment: Mapping[str, str]) -> Path | None:
        if self.ca_bundle is not None and not self.ca_bundle.is_file():
            raise InputError(
                "There is no such CA bundle.", f"{self.ca_bundle} is no file.", "Give a file of PEM certificates."
            )
        named = (Path(environment[name]) for name in _BUNDLES if environment.get(name))
        return self.ca_bundle or next((path for path in named if path.is_file()), None)

    def pip_options(self) -> list[str]:
        """For downloading on this machine: pip reads the variables itself, the options come before them."""
        options = []
        if self.index_url:
            options += ["--index-url", self.index_url]
        if self.extra_index_url:
            options += ["--extra-index-url", self.extra_index_url]
        return options + (["--cert", str(self.ca_bundle)] if self.ca_bundle else [])


def _remote(addresses: str) -> str:
    return " ".join(address for address in addresses.split() if "://" in address and not address.startswith("file:"))
