"""Make the Python environment of a checkout, and install the Debian packages its tests need; `make` calls it.

    python3 deploy/environment.py user|developer [--venv .venv] [--runtime cpu|gpu] [--lowest]
    python3 deploy/environment.py debian [test|proof]

Owns what is installed where, which torch, and the Debian packages; announces each step in one line. Does not own what mien depends on
(pyproject.toml). It runs before anything is installed: the standard library alone, on any `python3` from 3.6 on.
"""

import argparse
import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request

OLDEST, NEWEST = (3, 10), (3, 14)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CONSTRAINTS = os.path.join(ROOT, "deploy", "constraints.txt")

USER = ("record",)
DEVELOPER = ("record", "dev")
WHERE_THERE_ARE_WHEELS = ("mediapipe", "openvino", "tensorrt-gate", "triton")
"""Extras that a developer gets where this Python and machine have wheels for them; their tests are skipped elsewhere."""

OTHER_OPENCVS = ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")
# MediaPipe requires an OpenCV with windows, which would overwrite ours in the folder cv2: it is installed without its dependencies,
# and the extra `mediapipe` lists those that it imports.
MEDIAPIPE = "mediapipe>=1.2"

TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
"""PyTorch's own index of CPU builds. On Linux the ordinary index serves CUDA builds, gigabytes that no test uses."""
INDEX_TIMEOUT_S = 5.0

# A program, header or library that proves a package is there → Debian's package, and which tests want it.
DEBIAN = {
    "test": {
        "chromium": ("chromium", "the page"),
        "libEGL.so.1": ("libegl1", "MediaPipe"),
        "libGLESv2.so.2": ("libgles2", "MediaPipe"),
        "cc": ("gcc", "jumps of the wall clock"),
        "/usr/include/stdlib.h": ("libc6-dev", "jumps of the wall clock"),
        "openssl": ("openssl", "cameras over TLS"),
        "ip": ("iproute2", "lost networks"),
    },
    "proof": {
        "npm": ("npm", "the shipped models' packages, axe-core"),
        "mmdebstrap": ("mmdebstrap", "a bare Debian"),
        "qemu-x86_64": ("qemu-user", "the goldens on other processors"),
    },
}


def main():
    """Run one command."""
    if sys.version_info[:2] < OLDEST:
        other = next((name for name in (f"python3.{minor}" for minor in range(NEWEST[1], 9, -1)) if shutil.which(name)), None)
        hint = f"make PYTHON={other} …" if other else "install one, for example 3.12, and: make PYTHON=python3.12 …"
        fail(f"'{sys.executable}' is Python {sys.version.split()[0]}; mien needs 3.10 or newer. {hint}")
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("command", choices=("user", "developer", "debian"))
    parser.add_argument("stage", nargs="?", choices=sorted(DEBIAN), default="test", help="debian: for which tests")
    parser.add_argument("--venv", default=".venv", help="folder of the environment")
    parser.add_argument("--runtime", choices=("cpu", "gpu"), default="cpu", help="which ONNX Runtime")
    parser.add_argument("--lowest", action="store_true", help="developer: the oldest versions that pyproject.toml allows; needs uv")
    options = parser.parse_args()
    if options.command == "debian":
        sys.exit(0 if debian(options.stage) else 1)
    python = environment(options.venv)
    # The wheels for CPU and GPU install the same folder: the other one goes first, and with it what records that it is there.
    pip(python, "uninstall", "--yes", "onnxruntime" if options.runtime == "gpu" else "onnxruntime-gpu")
    if pip(python, "show", *OTHER_OPENCVS):  # they install the folder cv2 too, and who removes one removes what the other needs
        pip(python, "uninstall", "--yes", *OTHER_OPENCVS, "opencv-python-headless")
    if options.command == "user":
        announce(f"installing mien[{','.join((options.runtime, *USER))}] into {options.venv} (470 MB; minutes, the first time)")
        # Byte code is written when a module is first imported: most of what the packages hold never is.
        install(python, (options.runtime, *USER), "--no-compile")
    else:
        develop(python, options.venv, options.runtime, lowest if options.lowest else install)


def environment(venv):
    """Make the environment, unless it is there, and return its interpreter."""
    python = os.path.join(venv, "bin", "python")
    if os.path.exists(python):
        return python
    version = "{}.{}".format(*sys.version_info)
    if sys.version_info[:2] > NEWEST:
        announce(f"Python {version} is newer than those mien is tested on (3.10 to 3.14); going on")
    if subprocess.call([sys.executable, "-c", "import ensurepip, venv"], stderr=subprocess.DEVNULL):
        announce(f"'{sys.executable}' cannot make environments")
        if not apt_install([f"python{version}-venv"]):
            sys.exit(2)
    announce(f"new environment {venv} with Python {sys.version.split()[0]}")
    run(sys.executable, "-m", "venv", venv)
    return python


def develop(python, venv, runtime, install):
    """Install what a developer needs: every optional extra that has wheels here, and torch where its CPU build is to be had."""
    missing = torch(python)
    wanted = (runtime, *DEVELOPER, *(() if missing else ("export",)))
    announce(f"installing mien[{','.join((*wanted, *WHERE_THERE_ARE_WHEELS))}] into {venv} (minutes, the first time)")
    extras = WHERE_THERE_ARE_WHEELS
    if not install(python, (*wanted, *extras), "--only-binary=:all:", fatal=False):
        extras = tuple(extra for extra in extras if install(python, (extra,), "--only-binary=:all:", "--dry-run", fatal=False))
        for extra in sorted(set(WHERE_THERE_ARE_WHEELS) - set(extras)):
            announce(f"mien[{extra}] has no wheels for this Python and machine; its tests are skipped")
        install(python, (*wanted, *extras))
    if "mediapipe" in extras:
        release = MEDIAPIPE.replace(">=", "==") if install is lowest else MEDIAPIPE
        run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", release)
    if missing:
        announce(f"{missing}; the exporters' tests are left out, and `make test` tells how to get them")


def torch(python):
    """Install a CPU build of torch, unless a torch is there already; return why there is none, or None.

    First a wheel in a folder that pip is set up with (find-links); on macOS the ordinary index; else PyTorch's own index.
    """
    if succeeds(python, "-c", "import torch"):
        return None
    quiet = (python, "-m", "pip", "install", "--quiet", "--only-binary=:all:", "--constraint", CONSTRAINTS)
    if succeeds(*quiet, "--no-index", "--no-deps", "torch"):
        announce("torch: from a local wheel")
        return None if succeeds(*quiet, "torch") else "torch's dependencies could not be installed; run make again"
    if sys.platform == "darwin":
        return None if succeeds(*quiet, "torch") else "the index has no torch for this Python and Mac"
    try:
        urllib.request.urlopen(TORCH_INDEX + "/torch/", timeout=INDEX_TIMEOUT_S).close()
    except (OSError, ValueError) as error:
        return f"no torch for Python {version_of(python)}: no local wheel of its CPU build, and {TORCH_INDEX} does not answer ({error})"
    announce("torch: its CPU build, 200 MB")
    if succeeds(*quiet, "--index-url", TORCH_INDEX, "torch"):
        return None
    return f"no torch for Python {version_of(python)}: {TORCH_INDEX} has none for it"


def install(python, extras, *flags, fatal=True):
    """Install this checkout with extras and return whether that worked."""
    command = (python, "-m", "pip", "install", "--quiet", *flags, "--editable", f"{ROOT}[{','.join(extras)}]")
    if fatal:
        run(*command)
        return True
    return succeeds(*command)


def lowest(python, extras, *flags, fatal=True):
    """Install as `install` does, but the oldest version of each dependency that pyproject.toml allows; torch stays as it is."""
    with tempfile.TemporaryDirectory() as scratch:
        override = os.path.join(scratch, "override.txt")
        with open(override, "w", encoding="utf-8") as file:
            file.write(output(python, "-c", "import torch; print('torch==' + torch.__version__)") if "export" in extras else "")
        command = (sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python, "--resolution", "lowest-direct")
        command += ("--override", override, "--only-binary=:all:", *(flag for flag in flags if not flag.startswith("--only-binary")))
        command += ("--editable", f"{ROOT}[{','.join(extras)}]")
        if fatal:
            run(*command)
            return True
        return succeeds(*command)


def pip(python, *arguments):
    """Run pip without its output."""
    return succeeds(python, "-m", "pip", *arguments)


def debian(stage):
    """Install the Debian packages that the tests want, where that is allowed, else print the command; return whether all are there."""
    wanted = dict(DEBIAN["test"], **(DEBIAN["proof"] if stage == "proof" else {}))
    absent = {package: purpose for probe, (package, purpose) in wanted.items() if not there(probe)}
    if not absent:
        return True
    announce("some tests want Debian packages: " + "; ".join(f"{package} ({purpose})" for package, purpose in absent.items()))
    return apt_install(list(absent))


def there(probe):
    """Tell whether a program is on the path, a file exists, or a library can be loaded."""
    if ".so" in probe:
        try:
            ctypes.CDLL(probe)
        except OSError:
            return False
        return True
    return os.path.exists(probe) if probe.startswith("/") else shutil.which(probe) is not None


def apt_install(packages):
    """Install Debian packages if this user may, and return whether they are there now."""
    remedy = f"sudo apt-get install {' '.join(packages)}"
    if shutil.which("apt-get") is None:
        announce(f"this system has no apt-get; on Debian it would be: {remedy}")
        return False
    as_root = [] if os.getuid() == 0 else ["sudo", "-n"]
    if as_root and not (shutil.which("sudo") and succeeds("sudo", "-n", "true")):
        announce(f"not allowed to install here; do it with: {remedy}")
        return False
    announce(f"installing {' '.join(packages)} with apt-get")
    apt = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
    if subprocess.call([*apt, "update"]) or subprocess.call(
        [*apt, "install", "--yes", "--no-install-recommends", *packages], stdout=subprocess.DEVNULL
    ):
        announce(f"apt-get failed; see above, then: {remedy}")
        return False
    return True


def version_of(python):
    """Return an interpreter's version, X.Y."""
    return output(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")


def output(*command):
    """Return what a command prints."""
    return subprocess.check_output(command, universal_newlines=True).strip()


def succeeds(*command):
    """Run a command without its output and return whether its exit code is 0."""
    return subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL) == 0


def run(*command):
    """Run a command; end with its exit code if it fails."""
    code = subprocess.call(command)
    if code:
        fail(f"this failed with exit code {code}: {' '.join(command)}", code)


def announce(text):
    """Print one line as make would."""
    print(f"make: {text}", flush=True)


def fail(text, code=2):
    """Print why and end."""
    print(f"make: {text}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
