"""Processes that share out work, and leave with whoever started them."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process


@contextmanager
def processes(number: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes. When the block raises, what has not begun is not begun.

    They are not forked, for the parent may hold threads; and where the parent is killed, they end,
    which a pool's do not by themselves.
    """
    spawn = get_context("spawn")
    with ProcessPoolExecutor(number, spawn, initializer=_watch_parent) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _watch_parent() -> None:
    parent = parent_process()
    assert parent is not None

    def leave_with_it() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=leave_with_it, daemon=True).start()
