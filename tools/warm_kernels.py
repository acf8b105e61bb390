"""Kernels that begin with PyTorch already imported.

A chapter's kernel spends some ten seconds on importing PyTorch, scikit-learn and matplotlib before its first result,
and every chapter pays it anew. Here one process, the *nursery*, imports them once and forks when a kernel is asked for.
The kernel is as new as any other: it has a process and variables of its own, and imports `helpers` itself. Only modules
of installed packages are shared.

Forking is safe on Linux alone; elsewhere, and with ``BOOK_FRESH_KERNELS=1``, kernels start as Jupyter starts them.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
from importlib.metadata import EntryPoint
from multiprocessing.connection import Connection, wait
from typing import ClassVar

PRELOADED = (
    "ipykernel.kernelapp",
    "ipywidgets",
    "matplotlib.pyplot",
    "torch",
    "torch._dynamo",  # the first optimizer of torch.optim imports it
    "torchvision",
    "accelerate",
    "pandas",
    "scipy.signal",
    "sklearn.datasets",
    "sklearn.linear_model",
)
NAME = "book-warm-kernel"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def use(threads: int) -> None:
    """Let every kernel that this process starts from now on come out of a nursery, where the machine allows it.

    Parameters
    ----------
    threads : int
        Threads of each kernel's numerical libraries; they read it when they are imported, that is in the nursery.
    """
    if sys.platform != "linux" or os.environ.get("BOOK_FRESH_KERNELS") == "1":
        return
    from jupyter_client.provisioning import KernelProvisionerFactory

    factory = KernelProvisionerFactory.instance()
    factory.provisioners[NAME] = EntryPoint(NAME, "tools.kernel_provisioner:WarmProvisioner", factory.GROUP_NAME)
    factory.default_provisioner_name = NAME
    Nursery.threads = threads


class Nursery:
    """The process that has the slow imports behind it, seen from the process that wants kernels."""

    threads = 1
    _running: ClassVar[dict[int, Nursery]] = {}
    _lock = threading.Lock()

    def __init__(self, threads: int):
        self._control, theirs = socket.socketpair()
        env = os.environ | dict.fromkeys(_THREADS, str(threads))
        env |= {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "PYTHONHASHSEED": "0"}
        command = [sys.executable, "-P", __file__, str(theirs.fileno()), *PRELOADED]
        with theirs:
            self._process = subprocess.Popen(
                command, env=env, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
            )

    @classmethod
    def running(cls) -> Nursery:
        """The nursery of this process, for the number of threads chosen with :func:`use`; started at the first call."""
        with cls._lock:
            if cls.threads not in cls._running:
                cls._running[cls.threads] = cls(cls.threads)
            return cls._running[cls.threads]

    def fork(self, argv: list[str], cwd: str | None, env: dict[str, str]) -> Kernel:
        """A new kernel, given the arguments of ``ipykernel``, its working directory and its environment."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [b"k"], [theirs.fileno()])
        return Kernel(Connection(ours.detach()), argv, cwd, env)


class Kernel:
    """A forked kernel; has what Jupyter uses of `subprocess.Popen`. It is killed when this object's process dies."""

    stdin = stdout = stderr = None

    def __init__(self, keeper: Connection, argv: list[str], cwd: str | None, env: dict[str, str]):
        self._keeper = keeper
        self.returncode: int | None = None
        keeper.send((argv, cwd, env))
        self.pid: int = keeper.recv()

    def poll(self) -> int | None:
        if self.returncode is None and self._keeper.poll():
            self.wait()
        return self.returncode

    def wait(self) -> int:
        if self.returncode is None:
            try:
                self.returncode = self._keeper.recv()
            except EOFError:  # the keeper was killed, and with it the kernel
                self.returncode = -signal.SIGKILL
            self._keeper.close()
        return self.returncode

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def _nursery(control: socket.socket, preloaded: list[str]) -> None:
    """Import, then fork a keeper with a kernel for each connection that comes in, until the other end is gone."""
    for name in preloaded:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the keepers
    while True:
        asked, descriptors, *_ = socket.recv_fds(control, 1, 1)
        if not asked:
            return
        if os.fork() == 0:
            control.close()
            _keep(Connection(descriptors[0]))
            os._exit(0)
        os.close(descriptors[0])


def _keep(owner: Connection) -> None:
    """Fork a kernel, tell its owner its number and how it ended, and kill it when the owner is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    argv, cwd, env = owner.recv()
    pid = os.fork()
    if pid == 0:
        owner.close()
        _become_kernel(argv, cwd, env)
    owner.send(pid)
    ended = os.pidfd_open(pid)
    if ended not in wait([owner, ended]):
        os.killpg(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):  # the owner is gone: nobody wants to know
        owner.send(code)


def _become_kernel(argv: list[str], cwd: str | None, env: dict[str, str]) -> None:
    os.setsid()
    os.chdir(cwd or ".")
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["ipykernel_launcher", *argv]
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance(argv=[*argv, f"--IPKernelApp.parent_handle={os.getppid()}"])
    atexit._run_exitfuncs()  # a chapter's temporary folders
    os._exit(0)  # and nothing more: to take down what was imported would copy all of its memory first


if __name__ == "__main__":
    _nursery(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
