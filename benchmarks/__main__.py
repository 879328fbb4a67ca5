"""`python -m benchmarks [NAME…]`: run benchmarks, each in a process of its own; exit 1 if one is over its budget."""

from __future__ import annotations

import subprocess
import sys

ALL = ("analyze", "batching", "memory", "age", "first_label", "hop", "networks", "faces", "clock")


def run(names: list[str]) -> int:
    """Run the named benchmarks, all if none."""
    unknown = sorted(set(names) - set(ALL))
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(ALL)}", file=sys.stderr)
        return 2
    over = []
    for name in names or ALL:
        print(f"── {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode:
            over.append(name)
    print("over budget or failed: " + ", ".join(over) if over else "all within their budgets")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
