"""What Merlin has and this platform does otherwise: 501, and what to use instead."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final, NoReturn

from flask import Blueprint

from serving.control.bodies import ROW
from serving.openapi.operation import Operation, described
from serving.openapi.shapes import Refusal
from serving.refusals import NotOfferedError

_PUBLISH: Final = "yarnmill models publish OUTPUT_URL --model NAME --flavour FLAVOUR"
_PROJECT, _MODEL = f"/projects/<{ROW}:project_id>", f"/models/<{ROW}:model_id>"
_VERSION = f"{_MODEL}/versions/<{ROW}:number>"
_NO_SECRETS: Final = (
    "no secrets are kept here: what jobs read and write they reach as the user of the tier, and models as bundles",
    "the configuration of the tier, by whose keytab jobs sign in to a secured cluster",
)
_NO_IMAGES: Final = "no images are built", "a version's bundle, which brings all that it needs"

UNOFFERED: Final[dict[str, tuple[str, str, str]]] = {
    f"{_PROJECT}/models": ("POST", "a model is made with its first version", _PUBLISH),
    f"{_PROJECT}/models/<{ROW}:model_id>": (
        "DELETE",
        "models are not deleted",
        "yarnmill models gc, which retires versions",
    ),
    f"{_MODEL}/versions": ("POST", "a version is made of a finished bundle, never before it", _PUBLISH),
    _VERSION: (
        "PATCH DELETE",
        "versions are neither changed nor deleted here",
        "yarnmill versions label and yarnmill models gc",
    ),
    f"{_VERSION}/image": ("GET PUT", *_NO_IMAGES),
    f"{_PROJECT}/secrets": ("GET POST", *_NO_SECRETS),
    f"{_PROJECT}/secrets/<{ROW}:secret_id>": ("PATCH DELETE", *_NO_SECRETS),
}
"""Addresses with their methods, the reason, and what there is instead."""


def add_unoffered(pages: Blueprint) -> None:
    """Add the rest of Merlin's addresses: each says why it is not there."""
    for address, (methods, reason, instead) in UNOFFERED.items():
        pages.add_url_rule(
            address, endpoint=f"unoffered {address}", view_func=_refusing(reason, instead), methods=methods.split()
        )


def _refusing(reason: str, instead: str) -> Callable[..., NoReturn]:
    @described(Operation(answer=Refusal, status=HTTPStatus.NOT_IMPLEMENTED))
    def refuse(**_ids: int) -> NoReturn:
        raise NotOfferedError(f"{reason}; there is {instead}")

    refuse.__doc__ = f"Not offered: {reason}; there is {instead}."
    return refuse
