"""Kernels that need not read their libraries: each a fork of one process, which read them once.

Reading torch, transformers and what draws takes a notebook four to seven seconds of a core, and a
book runs some eighty. `serving` starts the process and tells Jupyter's runner, in an environment
variable, what to start as a kernel: this file, a thin client that asks for a fork and stands for it
until it ends. Where nobody answers, or what was read is not what a kernel would read now (code that
was edited since, another path), the client becomes an ordinary kernel.
"""

import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

KERNEL = "LIMALIB_KERNEL"
"""The variable that holds what Python starts as a kernel (see limalib/running/notebook.py)."""
READ = (
    "pandas", "seaborn", "torch", "transformers", "limalib.chapter", "limalib.figures",
    "limalib.teachers", "limalib.judging.browse", "limalib.data.recipes", "limalib.training.choice",
    "limalib.training.loop", "limalib.training.sampling", "limalib.training.shift",
)  # fmt: skip
HEEDED = ("PYTHON", "OMP_", "HF_", "TRANSFORMERS_", "TORCH_")
"""What variables begin with that Python and libraries look at where they are read."""
_LENGTH = struct.Struct("!I")


@contextmanager
def serving(
    environment: dict[str, str], folder: Path, modules: Sequence[str] = READ
) -> Iterator[dict[str, str]]:
    """The environment in which kernels are forks of a process that has read these modules, from
    `folder`. It could not be forked with a GPU's driver at work in it: where there is a GPU,
    kernels stay ordinary."""
    if sys.platform != "linux" or Path("/dev/nvidiactl").exists():
        yield environment
        return
    with tempfile.TemporaryDirectory(prefix="kernels-") as private:
        address = str(Path(private) / "socket")
        told = environment | {KERNEL: f"{__file__}\n{address}"}
        # One thread while reading, for threads are not forked; a backend is asked for only once.
        own = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
        command = [sys.executable, __file__, "--serve", address, *modules]
        given: dict[str, Any] = {"stdin": subprocess.PIPE, "cwd": folder, "env": environment | own}
        given |= {
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
        }  # forks have their own
        server = subprocess.Popen(command, **given, start_new_session=True)
        try:
            yield told
        finally:  # it ends by itself where this process is killed: then its input ends too
            server.terminate()
            server.communicate()


def serve(address: str, modules: Sequence[str]) -> None:
    """Fork a kernel for everybody who asks, until standard input ends."""
    # A kernel looks where it was started, after what PYTHONPATH names and the standard library.
    del sys.path[0]
    at = (n for n, path in enumerate(sys.path) if path.endswith(("site-packages", "dist-packages")))
    sys.path.insert(next(at, len(sys.path)), "")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        from ipykernel import kernelapp  # each is one, whatever else it reads

        read, began = False, 0
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            if not read:  # by now somebody waits for it: a build that runs nothing reads nothing
                began = time.time_ns()
                for name in modules:
                    importlib.import_module(name)
                read = True
                if pandas := sys.modules.get("pandas"):  # which took this process for a terminal
                    pandas.set_option("display.max_columns", 20)
                gc.freeze()  # forks would go through all of it, and so copy it
                signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended
            with listener.accept()[0] as client:
                if not os.fork():
                    listener.close()
                    _become(kernelapp, client, began)


def _same(environment: Mapping[str, str], folder: str, began: int) -> bool:
    """Whether a kernel with this environment, started in `folder`, would read what this process
    read after `began`."""
    asked, own = (
        {name: value for name, value in given.items() if name.startswith(HEEDED)}
        for given in (environment, os.environ)
    )
    files = [str(getattr(module, "__file__", None)) for module in list(sys.modules.values())]
    paths = (sysconfig.get_path(n) for n in ("stdlib", "platstdlib", "purelib", "platlib"))
    installed = tuple(path + os.sep for path in paths)
    own_code = [file for file in files if os.path.isabs(file) and not file.startswith(installed)]
    sources = [Path(file) for file in own_code]
    beside = [path for file in sources for path in file.parent.glob(f"{file.stem}.*")]
    try:  # the time of a change, not of writing, which a copy may bring along
        changed = [path.stat().st_ctime_ns for path in (*sources, *beside)]
    except OSError:  # it went
        return False
    return asked == own and folder == os.getcwd() and max(changed, default=0) < began


def _become(kernel: ModuleType, client: socket.socket, began: int) -> None:
    """Be the kernel that a client asks for, as long as the client lives. Never returns."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    length, outputs, _, _ = socket.recv_fds(client, _LENGTH.size, 2)
    with client.makefile("rb") as stream:
        asked = json.loads(stream.read(*_LENGTH.unpack(length)))
    if not _same(asked["environment"], asked["folder"], began):
        os._exit(1)
    client.sendall(_LENGTH.pack(os.getpid()))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, output in enumerate(outputs, start=1):
        os.dup2(output, number)
        os.close(output)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    sys.argv = ["ipykernel_launcher", *asked["arguments"]]
    if torch := sys.modules.get("torch"):  # else what is drawn without a seed is the same in all
        torch.seed()
        sys.modules["numpy"].random.seed()

    def watch() -> None:
        client.recv(1)  # nothing is sent: it returns when the client is gone
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    kernel.launch_new_instance()
    atexit._run_exitfuncs()
    os._exit(0)  # what was read need not be taken down


def stand_for(address: str, arguments: Sequence[str]) -> int:
    """Ask for a kernel and stand for it: hand on what ends or interrupts it, end when it does."""
    parent = os.getppid()
    asked = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    content = json.dumps(asked).encode()
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.connect(address)
            socket.send_fds(server, [_LENGTH.pack(len(content))], [1, 2])
            server.sendall(content)
            (kernel,) = _LENGTH.unpack(server.recv(_LENGTH.size, socket.MSG_WAITALL))
        except (OSError, struct.error):  # nobody there, or nobody that could stand for it
            os.execv(sys.executable, [sys.executable, "-m", "ipykernel_launcher", *arguments])

        def pass_on(number: int, _: Any) -> None:
            with suppress(ProcessLookupError):
                os.kill(kernel, number)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, pass_on)
        ends: list[Any] = [server]  # held open by what a kernel forked, too
        with suppress(OSError):
            ends.append(os.pidfd_open(kernel))
        while not select.select(ends, [], [], 1)[0]:
            if os.getppid() != parent:  # the runner was killed
                return 1
        return 0


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the build is stopped; it ends with it
        serve(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(stand_for(sys.argv[1], sys.argv[2:]))
