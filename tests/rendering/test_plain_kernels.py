"""The kernels of scenes, crops and styles compute what the same lines compute as plain Python."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.rendering import plain_kernels


def test_compiled_and_plain_kernels_agree(tmp_path: Path) -> None:
    fast, plain = tmp_path / "fast.npz", tmp_path / "plain.npz"
    plain_kernels.main(str(fast))
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "ignore::RuntimeWarning"}  # hashes overflow
    program = [sys.executable, "-m", "tests.rendering.plain_kernels", str(plain)]
    subprocess.run(program, check=True, env=env, timeout=200)
    with np.load(fast) as one, np.load(plain) as other:
        np.testing.assert_allclose(one["picture"], other["picture"], rtol=1e-4)
        np.testing.assert_allclose(one["crop"], other["crop"], rtol=1e-4)
        assert np.abs(one["stored"].astype(int) - other["stored"]).max() <= 1
