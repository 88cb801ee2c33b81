"""Two renderers behind one function: the same people, parts and silhouettes; and errors that name the cure."""

import ctypes
import threading
from pathlib import Path

import numpy as np
import pytest

from resight.cluster.errors import UserError
from resight.cluster.pool import InProcess
from resight.datasets.dataset import open_dataset
from resight.rendering.capsule import capsule_body
from resight.rendering.picture import picture
from resight.rendering.pyrender_back import PyrenderBack, open_pyrender
from resight.rendering.render import render_world
from resight.rendering.renderers import find_renderer, renderer_fingerprint, renderer_name
from resight.rendering.shading import render
from resight.rendering.splits import SPLITS
from resight.rendering.world import WORLDS, ImageSpec, identities, images


def _has_egl() -> bool:
    try:
        ctypes.CDLL("libEGL.so.1")
    except OSError:
        return False
    return True


needs_egl = pytest.mark.skipif(not _has_egl(), reason="no libEGL.so.1 on this machine")


def _specs() -> list[ImageSpec]:
    """Two images of every split: dressed and in clay, cut hair, bags, posts, stools and passers-by."""
    found: list[ImageSpec] = []
    for split in SPLITS:
        for pid in identities(WORLDS["tiny"], split, "query")[:2]:
            found.append(next(images(WORLDS["tiny"], split, "query", pid)))
    return found


@needs_egl
def test_silhouettes_and_parts_of_both_agree() -> None:
    body, gl = capsule_body(), find_renderer("pyrender")
    for spec in _specs():
        ours, theirs = picture(body, 0, spec), picture(body, 0, spec, gl)
        for name in ("mask", "amodal"):
            one, other = getattr(ours, name) > 0, getattr(theirs, name) > 0
            assert (one & other).sum() / (one | other).sum() >= 0.98
        assert (ours.parts == theirs.parts).mean() > 0.99
        assert np.abs(ours.image.astype(int) - theirs.image).mean() < 1
        both = np.isfinite(ours.depth) & np.isfinite(theirs.depth)
        assert np.median(np.abs(ours.depth[both] - theirs.depth[both])) < 0.01
        seen = (ours.keypoints[:, 2] == theirs.keypoints[:, 2]).mean()
        assert seen > 0.9


@needs_egl
def test_any_thread_may_draw() -> None:
    spec, drawn = _specs()[0], list[bytes]()
    gl = find_renderer("pyrender")

    def take() -> None:
        drawn.append(picture(capsule_body(), 0, spec, gl).image.tobytes())

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(drawn) == 3
    assert len(set(drawn)) == 1


@needs_egl
@pytest.mark.slow
def test_a_world_by_pyrender_says_so_and_is_refused_where_numba_made_one(tmp_path: Path) -> None:
    (card,) = render_world(
        "micro", seed=0, out=tmp_path, splits=("base",), renderer="pyrender", backend=InProcess(workers=2)
    )
    assert card.made_by["renderer"]["renderer"] == renderer_fingerprint("pyrender")
    assert open_pyrender().device in card.made_by["renderer"]["renderer"]
    assert "--renderer pyrender" in card.made_by["command"]
    assert len(open_dataset(tmp_path / "base")) == 480
    with pytest.raises(UserError, match="published with other settings"):
        render_world("micro", seed=0, out=tmp_path, splits=("base",))


def test_numba_is_the_renderer_that_needs_nothing() -> None:
    assert find_renderer("numba") is render
    assert renderer_fingerprint("numba").startswith("numba ")


def test_without_egl_the_error_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(UserError, match="needs EGL") as caught:
        PyrenderBack()
    for package in ("libegl1", "libgl1-mesa-dri", "resight[pyrender]", "--renderer numba"):
        assert package in str(caught.value.cure)


def test_unknown_renderers_are_explained() -> None:
    with pytest.raises(UserError, match="did you mean 'pyrender'"):
        renderer_name("pyrendr")
