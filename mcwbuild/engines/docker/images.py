"""The stages' images that a daemon has: found by label, identified by id, fresh or stale against today's files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcwbuild.contract.phases import Phase
from mcwbuild.engines.docker import daemon, recipes
from mcwbuild.engines.docker.recipes import Recipe

if TYPE_CHECKING:
    from docker import DockerClient

WHAT = "The images could not be looked at."


@dataclass(frozen=True)
class StageImage:
    """One image of a stage. `stale` says why it is not what would be built today; None: it is."""

    id: str
    phase: str
    tags: tuple[str, ...]
    size: int  # bytes, layers that it shares with others counted too
    created: str
    labels: Mapping[str, str]
    stale: str | None

    @property
    def by_hand(self) -> bool:
        """True for an image of `docker build`: nothing tells what it was made from, so it is not fresh, and stays."""
        return recipes.CODE not in self.labels

    @property
    def toolkit(self) -> str | None:
        """RKNN-Toolkit2's version, where it has one."""
        return self.labels.get(recipes.TOOLKIT)

    @property
    def torch(self) -> str | None:
        """Torch's build: `cpu` or `cuda`; None for an image that was built by hand."""
        return self.labels.get(recipes.TORCH)

    @property
    def base(self) -> str:
        """The image that it was made from, with the digest where it is known."""
        name, digest = self.labels.get(recipes.BASE_NAME, ""), self.labels.get(recipes.BASE_DIGEST)
        return f"{name}@{digest}" if digest else name


def listed(client: DockerClient) -> list[StageImage]:
    """Every image with the label of a phase, by phase, the newest first. Raises EnvironmentLacking."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        rows: list[dict[str, Any]] = client.api.images(filters={"label": recipes.PHASE})
        found = [_image(client.images.get(row["Id"]).attrs) for row in rows]
    except (DockerException, RequestException, OSError) as error:
        raise daemon.told(error, WHAT) from error
    newest = sorted(found, key=lambda image: image.created, reverse=True)
    order = ("pt", "onnx", "rknn")
    return sorted(newest, key=lambda image: order.index(image.phase) if image.phase in order else len(order))


def _image(details: Mapping[str, Any]) -> StageImage:
    labels: dict[str, str] = details["Config"].get("Labels") or {}
    return StageImage(
        id=str(details["Id"]),
        phase=labels[recipes.PHASE],
        tags=tuple(details.get("RepoTags") or ()),
        size=int(details["Size"]),
        created=str(details["Created"]),
        labels=labels,
        stale=recipes.stale(labels),
    )


def find(
    client: DockerClient, phase: Phase, *, toolkit: str | None = None, torch: str | None = None
) -> StageImage | None:
    """The image that a phase runs in: a fresh one before a stale one, the newest of these; None where there is none.

    `toolkit` None means the default version of RKNN-Toolkit2; `torch` None takes either build. Images of other
    toolkits or builds are not looked at. Raises EnvironmentLacking.
    """
    if phase.name == "rknn" and toolkit is None:
        toolkit = next(iter(recipes.toolkit_versions()))
    fitting = [
        image
        for image in listed(client)
        if image.phase == phase.name
        and (toolkit is None or image.toolkit in (toolkit, None))
        and (torch is None or image.torch in (torch, None))
    ]
    return min(fitting, key=lambda image: image.stale is not None, default=None)


def made_by(client: DockerClient, recipe: Recipe) -> StageImage | None:
    """The newest image that was made as the recipe says, whoever built it. Raises EnvironmentLacking."""
    wanted = {
        **recipe.identity(),
        recipes.PHASE: recipe.phase.name,
        recipes.TORCH: recipe.torch,
        recipes.TOOLKIT: recipe.toolkit or "",
        recipes.WHEEL: recipe.wheel_sha256 or "",
    }
    fitting = (
        image
        for image in listed(client)
        if image.stale is None and all(image.labels.get(label, "") == value for label, value in wanted.items())
    )
    return next(fitting, None)


@dataclass(frozen=True)
class Removed:
    """What `prune` did with one image: `kept` says why it is still there."""

    image: StageImage
    kept: str | None = None


def prune(client: DockerClient, phases: Collection[str] = ()) -> list[Removed]:
    """Removes the stages' images that are stale, found by label, of some phases or of all.

    Those that a container uses stay, with the reason. Raises EnvironmentLacking.
    """
    from docker.errors import APIError, DockerException, ImageNotFound
    from requests.exceptions import RequestException

    done = []
    try:
        for image in listed(client):
            if image.stale is None or image.by_hand or (phases and image.phase not in phases):
                continue
            try:
                for name in image.tags or (image.id,):
                    client.api.remove_image(name)
            except ImageNotFound:
                continue
            except APIError as error:
                if error.status_code != 409:  # in use by a container, or other images are made from it
                    raise
                done.append(Removed(image, str(error.explanation)))
                continue
            done.append(Removed(image))
    except (DockerException, RequestException, OSError) as error:
        raise daemon.told(error, "The images could not be removed.") from error
    return done


def prune_cache(client: DockerClient) -> int:
    """Removes what builds left behind, found by label; gives the bytes that are free again."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        done = client.images.prune(filters={"dangling": True, "label": recipes.BUILDER})
    except (DockerException, RequestException, OSError) as error:
        raise daemon.told(error, "The build cache could not be removed.") from error
    return int(done["SpaceReclaimed"])
