"""`wattkeeper crds`: the CustomResourceDefinitions, to be piped into kubectl."""

from __future__ import annotations

import json

import click

from wattkeeper.api.crds import definitions, to_yaml


@click.command()
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
def crds(output: str) -> None:
    """Prints the CustomResourceDefinitions.

    \b
    Examples:
      wattkeeper crds | kubectl apply --server-side -f -
    """  # noqa: D301 - click wants the control character.
    made = list(definitions().values())
    if output == "json":
        click.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": made}, indent=2))
    else:
        click.echo("---\n".join(to_yaml(one) for one in made), nl=False)
