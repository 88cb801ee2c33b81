"""The renderers by name: what draws a body or a thing, and what names every version that has a say in its bytes.

What: `find_renderer("numba")` is the function that `shading.render` is; every renderer has its arguments and returns
the same `Frame`. `renderer_fingerprint` goes into the specification of every shard. Why: numba's z-buffer needs no
graphics driver and defines the bytes; pyrender is the second opinion, and draws with OpenGL. Source: design of this
project. Trade-off: renderers find what is visible; light, patterns and labels are made by the same code after either.
"""

from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from typing import Final, Literal, TypeAlias, cast, get_args

from resight.cluster.errors import UserError, did_you_mean
from resight.rendering.shading import Frame, render

__all__ = ["RENDERERS", "Draw", "RendererName", "find_renderer", "renderer_fingerprint", "renderer_name"]

RendererName = Literal["numba", "pyrender"]

RENDERERS: Final[tuple[str, ...]] = get_args(RendererName)

Draw: TypeAlias = Callable[..., Frame]
"""`shading.render`, or a function with the same arguments."""


def renderer_name(name: str) -> RendererName:
    """Return the name when there is such a renderer.

    Raises:
        UserError: when there is none.
    """
    if name not in RENDERERS:
        raise UserError(f"there is no renderer {name!r}", where="--renderer", cure=did_you_mean(name, RENDERERS))
    return cast(RendererName, name)


def find_renderer(name: RendererName) -> Draw:
    """Return the function; pyrender's opens its context when it is asked for.

    Raises:
        UserError: where pyrender or EGL is missing.
    """
    if name == "numba":
        return render
    from resight.rendering.pyrender_back import open_pyrender

    return open_pyrender().draw


@cache
def renderer_fingerprint(name: RendererName) -> str:
    """Return the renderer's name and the versions behind its pixels, e.g. "numba 0.68.0".

    Raises:
        UserError: where pyrender or EGL is missing.
    """
    if name == "numba":
        return f"numba {version('numba')}"
    from resight.rendering.pyrender_back import open_pyrender

    return f"pyrender {version('pyrender')}, PyOpenGL {version('PyOpenGL')}, {open_pyrender().device}"
