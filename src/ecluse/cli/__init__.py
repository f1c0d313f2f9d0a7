"""The ``ecluse`` command. Each command has a file of its own, imported only when it is called."""

from __future__ import annotations

import sys

from cyclopts import App

from ecluse import __version__

app = App(
    name="ecluse",
    version=__version__,
    help="A self-hosted AI gateway: the least model that is good enough answers.",
)
app.command("ecluse.cli.serve:serve", name="serve", help="Start the gateway.")
app.command("ecluse.cli.demo:demo", name="demo", help="Show the cascade at work on real models.")
app.command(
    "ecluse.cli.doctor:doctor",
    name="doctor",
    help="Explain what is there, what is missing, what to do.",
)

keys = App(name="keys", help="Make, list and revoke API keys.")
keys.command("ecluse.cli.keys:create", name="create", help="Make a key and show it once.")
keys.command("ecluse.cli.keys:list_", name="list", help="List keys, never their secrets.")
keys.command("ecluse.cli.keys:revoke", name="revoke", help="Revoke a key.")
app.command(keys)

report = App(name="report", help="Sum up what was used.")
report.command("ecluse.cli.report:usage", name="usage", help="Tokens, attempts and spend.")
app.command(report)

config = App(name="config", help="The configuration file.")
config.command("ecluse.cli.config:example", name="example", help="Print a commented example.")
config.command("ecluse.cli.config:docs", name="docs", help="Print the documentation of every key.")
config.command("ecluse.cli.config:check", name="check", help="Check a file without starting.")
app.command(config)


def main() -> None:
    """Run the command line. An error of ours is a sentence and exit code 2, not a traceback."""
    from ecluse.domain.errors import EcluseError

    try:
        app()
    except EcluseError as error:
        print(f"ecluse: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
