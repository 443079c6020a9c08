"""The command line. Only it crosses the project's layers, by imports inside its functions."""

from edgeseg.cli.app import main

__all__ = ["main"]
