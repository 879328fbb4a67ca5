"""The command `mien`, for every machine: `mien doctor` needs the standard library alone, everything else `cli.py`.

Owns what is said where a package of others cannot be imported. Does not own any command.
"""

from __future__ import annotations

import os
import sys

from service.diagnostics.failed_import import line, of_others


def main() -> None:
    """Run the command line; a package that does not load is one line on standard error and exit code 2."""
    arguments = sys.argv[1:]
    # A rig is listened to by importing what reads cameras.
    if arguments[:1] == ["doctor"] and not any(one == "--rig" or one.startswith("--rig=") for one in arguments):
        raise SystemExit(_doctor(arguments[1:]))
    try:
        from service.cli import app

        app()
    except Exception as error:
        package = of_others(error)
        if package is None:
            raise
        text = f"{package} cannot be imported: {line(error)}; `mien doctor` says what is missing and how to get it"
        print(f"mien: error: {text}", file=sys.stderr)
        raise SystemExit(2) from None


def _doctor(arguments: list[str]) -> int:
    from service.diagnostics.doctor import run

    try:
        return run(arguments)
    except KeyboardInterrupt:
        print("Aborted!", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader has gone, as `head` does. What is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


if __name__ == "__main__":
    main()
