"""Processes of curation: none outlives whoever started it."""

import os
import signal
import subprocess
import sys
import time

import psutil

STARTS_TWO = """
import os, time
from limalib.data.exchanges import processes
with processes(2) as pool:
    print(*{n: pool.submit(os.getpid).result() for n in range(2)}.values(), flush=True)
    time.sleep(60)
"""


def test_they_end_when_their_parent_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", STARTS_TWO], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    children = {int(pid) for pid in parent.stdout.readline().split()}
    assert children - {os.getpid(), parent.pid}
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while any(map(runs, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(runs, children))


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
