"""`wattkeeper ...`, also `kubectl wattkeeper`: a command per module, loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version

import click

# Command -> (the module that holds it, one line for the overview). Loading a command's module can cost half a second
# (numpy, grpc), so the overview itself loads none.
COMMANDS: dict[str, tuple[str, str]] = {
    "actuator": ("wattkeeper.cli.actuator", "Run the actuator: ceilings on KServe's services."),
    "admission": ("wattkeeper.cli.admission", "Run the admission plugin: requests and power gates on new pods."),
    "crds": ("wattkeeper.cli.crds", "Print the CustomResourceDefinitions."),
    "demo": ("wattkeeper.cli.demo", "See a power budget being kept, without a cluster."),
    "probe": ("wattkeeper.cli.probe", "Say what a Prometheus or an exporter offers, and what is missing."),
    "scaler": ("wattkeeper.cli.scaler", "Run the recommender and KEDA's external scaler."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module only when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature.
        """Returns the names, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Imports and returns one command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(COMMANDS[cmd_name][0]), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the overview without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("wattkeeper"), "--version", "-V", prog_name="wattkeeper")
def main() -> None:
    """Keeps LLM inference on Kubernetes inside a power budget.

    \b
    Examples:
      wattkeeper demo                                    a working day in a minute, nothing to install
      wattkeeper probe --prometheus http://localhost:9090
      wattkeeper scaler --help
    """  # noqa: D301 - click reads the backspace itself, as "leave these lines alone".
