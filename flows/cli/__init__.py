"""The command `sphero`. Every module here is light: what a command needs it imports when it runs."""

from __future__ import annotations

from flows.cli.app import main

__all__ = ["main"]
