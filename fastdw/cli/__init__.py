"""The command line. Nothing else in fastdw prints.

A command is a file here: its function `add` adds the parser, whose default `command` takes the parsed options.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

COMMANDS = ("autotune", "explain", "info", "profile", "warmup", "run", "cost", "decouple")
ERROR_STATUS = 2
INTERRUPTED_STATUS = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; gives the exit status."""
    try:
        options = make_parser().parse_args(arguments)
        options.command(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED_STATUS
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains again when it flushes at exit
    except (OSError, ValueError, TypeError, RuntimeError, ImportError, MemoryError) as error:
        print(f"fastdw: error: {one_line(error)}", file=sys.stderr)
        return ERROR_STATUS
    return 0


def one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(ERROR_STATUS, f"fastdw: error: {message}\n")


def make_parser() -> Parser:
    parser = Parser(prog="fastdw", description="Depthwise-separable convolutions on NumPy arrays, compiled for this CPU.")
    commands = parser.add_subparsers(title="commands", metavar="command", required=True)
    for command in COMMANDS:
        import_module(f"fastdw.cli.{command}").add(commands)
    return parser
