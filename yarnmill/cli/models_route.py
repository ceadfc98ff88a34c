"""``yarnmill models route``: several versions of a model answer, at shares."""

import click

from yarnmill.cli.models_options import environment_option, expected_option, print_endpoint, say
from yarnmill.cli.options import output_option, with_config
from yarnmill.config import Config
from yarnmill.registry.records import Destination, Layer, Rule


@click.command()
@click.argument("model")
@click.argument("shares", nargs=-1, required=True, metavar="VERSION=PERCENT...")
@click.option("--mirror", type=int, default=None, help="A version that is asked too, its answer unused.")
@click.option("--layer", default=None, metavar="NAME:FROM-TO", help="The units that take part, such as ranking:0-30.")
@environment_option
@expected_option
@output_option
@with_config
def route(  # noqa: PLR0913  # click's options
    model: str,
    shares: tuple[str, ...],
    *,
    mirror: int | None,
    layer: str | None,
    environment: str | None,
    expected: int | None,
    output: str,
    config: Config,
) -> None:
    """Divide the requests of MODEL among versions, such as `1=90 2=10`; the shares add up to 100.

    Requests that name a unit (the header X-Unit-Id) are answered by the same version every time; when shares change,
    as few units as possible change their version. A version that does not run yet is fetched and tried first.
    """
    # What opens a model loads its libraries: not for the other commands.
    from yarnmill.lifecycle.deploy import route as route_versions  # noqa: PLC0415

    rule = parse_rule(shares, mirror, layer)
    endpoint = route_versions(model, rule, config, environment=environment, expected=expected, progress=say)
    print_endpoint(endpoint, output)


def parse_rule(shares: tuple[str, ...], mirror: int | None, layer: str | None = None) -> Rule:
    """Return the rule of ``version=percent`` texts, and of ``name:from-to``, the units that take part."""
    destinations = []
    for text in shares:
        version, _, weight = text.partition("=")
        try:
            destinations.append(Destination(version=int(version), weight=float(weight.removesuffix("%"))))
        except ValueError as problem:
            raise click.UsageError(f"{text!r} is no share, such as 2=10: {problem}") from None
    try:
        return Rule(
            destinations=tuple(destinations), mirror=mirror, layer=None if layer is None else parse_layer(layer)
        )
    except ValueError as problem:
        raise click.UsageError(str(problem)) from None


def parse_layer(text: str) -> Layer:
    """Return the part of a layer that ``name:from-to`` says; ValueError if it says none."""
    name, _, part = text.rpartition(":")
    start, dash, stop = part.removesuffix("%").partition("-")
    if not (name and dash):
        raise ValueError(f"layer {text!r} is not like ranking:0-30")
    return Layer(name=name, start=float(start.removesuffix("%")), stop=float(stop))
