"""The same bytes with and without AVX-512: numba's, numpy's and BLAS's code is held back in a child process."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

_CHILD = Path(__file__).parent / "hash_frames.py"


def _hash(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, str(_CHILD)], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    assert len(done.stderr) == 64, done.stderr
    return done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="names of x86 processors")
def test_frames_have_the_same_bytes_without_avx_512(tmp_path: Path) -> None:
    found = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    wide = [name for name in found if name == "X86_V4" or name.startswith("AVX512")]
    old = _hash(
        NUMBA_CPU_NAME="haswell",
        NUMBA_CPU_FEATURES="",
        NUMBA_CACHE_DIR=str(tmp_path),
        NPY_DISABLE_CPU_FEATURES=" ".join(wide),
        OPENBLAS_CORETYPE="Haswell",
    )
    assert old == _hash()
