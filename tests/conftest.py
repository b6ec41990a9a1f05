"""What several test files share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import warm

ROOT = Path(__file__).resolve().parents[1]

# Tiny models compute faster on one thread, and tests run beside each other.
torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def kernels() -> Iterator[None]:
    """Notebooks that tests run have kernels that are forks, as a build's have."""
    # As most tests that run notebooks have it; the others' kernels are ordinary ones.
    quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with warm.serving(os.environ | quiet, ROOT) as environment:
        if warm.KERNEL in environment:  # not where there is a GPU
            os.environ[warm.KERNEL] = environment[warm.KERNEL]
        yield
    os.environ.pop(warm.KERNEL, None)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real, public data beside the repository; skipped where it is absent, except in CI."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        reason = "real data is not beside the repository (../shared/data)"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
