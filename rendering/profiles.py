"""The capsule body's measures: half-widths and depths of the rings of each tube, in metres.

Source: our own, set by eye and by adult anthropometry (stature 1.72 m, chest about 0.95 m, waist 0.78 m, hips 0.94 m).
Heights are above the floor. Between the rows the profiles run along monotone cubics, so a row is also an extreme.
"""

from typing import Final

import numpy as np
from jaxtyping import Float

__all__ = ["ARM", "FOOT", "HAIR", "HEAD", "LEG", "PELVIS", "TRUNK", "sample"]

PELVIS: Final = 0.93
"""Height of the root joint above the floor."""

# height, half-width, depth in front, depth behind, z of the centre, squareness (2 = ellipse)
TRUNK: Final = np.array([
    [0.790, 0.030, 0.030, 0.030, -0.005, 2.0],
    [0.800, 0.085, 0.060, 0.065, -0.005, 2.2],
    [0.825, 0.140, 0.082, 0.100, -0.005, 2.3],
    [0.860, 0.166, 0.094, 0.121, -0.005, 2.4],
    [0.900, 0.174, 0.100, 0.125, -0.005, 2.4],
    [0.950, 0.167, 0.104, 0.113, -0.004, 2.4],
    [1.000, 0.156, 0.105, 0.097, -0.002, 2.3],
    [1.060, 0.146, 0.104, 0.087,  0.000, 2.3],
    [1.110, 0.144, 0.105, 0.087, -0.002, 2.3],
    [1.170, 0.151, 0.110, 0.094, -0.005, 2.3],
    [1.230, 0.160, 0.118, 0.104, -0.010, 2.4],
    [1.280, 0.168, 0.122, 0.110, -0.015, 2.5],
    [1.330, 0.171, 0.110, 0.109, -0.018, 2.5],
    [1.370, 0.170, 0.090, 0.101, -0.020, 2.4],
    [1.400, 0.154, 0.072, 0.088, -0.022, 2.2],
    [1.425, 0.116, 0.060, 0.075, -0.022, 2.0],
    [1.450, 0.078, 0.056, 0.064, -0.020, 2.0],
    [1.480, 0.058, 0.055, 0.060, -0.014, 2.0],
    [1.520, 0.054, 0.053, 0.057, -0.006, 2.0],
    [1.560, 0.050, 0.048, 0.052,  0.000, 2.0],
])  # fmt: skip

# position along the leg (hip 0, knee 0.5, ankle 1), half-width, front, back, squareness
LEG: Final = np.array([
    [-0.120, 0.040, 0.040, 0.050, 2.0],
    [-0.080, 0.068, 0.066, 0.078, 2.0],
    [0.000, 0.084, 0.084, 0.098, 2.0],
    [0.080, 0.086, 0.087, 0.097, 2.1],
    [0.200, 0.079, 0.083, 0.083, 2.1],
    [0.350, 0.065, 0.070, 0.066, 2.1],
    [0.450, 0.055, 0.058, 0.053, 2.1],
    [0.500, 0.053, 0.057, 0.050, 2.2],
    [0.560, 0.050, 0.052, 0.052, 2.2],
    [0.670, 0.052, 0.046, 0.066, 2.1],
    [0.780, 0.043, 0.040, 0.053, 2.0],
    [0.900, 0.032, 0.035, 0.039, 2.0],
    [0.960, 0.031, 0.036, 0.038, 2.0],
    [1.000, 0.031, 0.038, 0.038, 2.0],
    [1.060, 0.028, 0.036, 0.036, 2.0],
])  # fmt: skip

# position along the arm (shoulder 0, elbow 0.4, wrist 0.8, finger tips 1), half-width, front, back, squareness
ARM: Final = np.array([
    [-0.056, 0.014, 0.016, 0.016, 2.0],
    [-0.047, 0.029, 0.032, 0.032, 2.0],
    [-0.027, 0.044, 0.047, 0.047, 2.0],
    [0.000, 0.054, 0.057, 0.057, 2.0],
    [0.070, 0.055, 0.060, 0.058, 2.0],
    [0.170, 0.046, 0.051, 0.050, 2.0],
    [0.280, 0.041, 0.045, 0.045, 2.0],
    [0.360, 0.038, 0.040, 0.040, 2.0],
    [0.400, 0.038, 0.040, 0.040, 2.0],
    [0.460, 0.039, 0.042, 0.040, 2.0],
    [0.560, 0.036, 0.040, 0.038, 2.0],
    [0.700, 0.027, 0.031, 0.031, 2.0],
    [0.780, 0.021, 0.027, 0.027, 2.0],
    [0.800, 0.020, 0.027, 0.027, 2.0],
    [0.850, 0.018, 0.038, 0.036, 2.3],
    [0.900, 0.018, 0.042, 0.038, 2.4],
    [0.950, 0.016, 0.036, 0.036, 2.4],
    [0.985, 0.013, 0.027, 0.028, 2.2],
    [1.000, 0.007, 0.014, 0.014, 2.0],
])  # fmt: skip

# position along the foot (heel 0, toe 1), half-width, height above the centre line, depth below it, squareness
FOOT: Final = np.array([
    [0.000, 0.014, 0.020, 0.018, 2.0],
    [0.025, 0.026, 0.036, 0.027, 2.2],
    [0.100, 0.034, 0.052, 0.030, 2.5],
    [0.250, 0.036, 0.066, 0.030, 2.5],
    [0.400, 0.037, 0.058, 0.030, 2.5],
    [0.550, 0.042, 0.038, 0.030, 2.6],
    [0.720, 0.047, 0.022, 0.030, 2.7],
    [0.870, 0.044, 0.012, 0.028, 2.7],
    [0.960, 0.032, 0.006, 0.024, 2.5],
    [1.000, 0.014, 0.000, 0.016, 2.0],
])  # fmt: skip

# height, half-width, depth in front, depth behind, z of the centre, squareness
HEAD: Final = np.array([
    [1.494, 0.016, 0.016, 0.020, 0.062, 2.0],
    [1.502, 0.030, 0.028, 0.050, 0.052, 2.1],
    [1.520, 0.046, 0.048, 0.070, 0.036, 2.2],
    [1.550, 0.060, 0.070, 0.092, 0.020, 2.2],
    [1.590, 0.070, 0.083, 0.102, 0.010, 2.2],
    [1.630, 0.075, 0.088, 0.106, 0.006, 2.1],
    [1.665, 0.074, 0.086, 0.104, 0.002, 2.1],
    [1.690, 0.066, 0.074, 0.092, -0.002, 2.0],
    [1.708, 0.050, 0.056, 0.070, -0.004, 2.0],
    [1.718, 0.028, 0.032, 0.040, -0.006, 2.0],
])  # fmt: skip

# the hair: a cap over the crown, then a curtain behind the neck down to the shoulder blades
HAIR: Final = np.array([
    [1.736, 0.026, 0.030, 0.034, -0.012, 2.0],
    [1.728, 0.050, 0.056, 0.060, -0.012, 2.0],
    [1.710, 0.070, 0.078, 0.084, -0.012, 2.1],
    [1.685, 0.080, 0.086, 0.098, -0.014, 2.2],
    [1.655, 0.083, 0.070, 0.098, -0.020, 2.2],
    [1.620, 0.083, 0.048, 0.092, -0.028, 2.3],
    [1.580, 0.082, 0.034, 0.084, -0.036, 2.3],
    [1.540, 0.080, 0.028, 0.072, -0.046, 2.3],
    [1.500, 0.080, 0.026, 0.058, -0.060, 2.3],
    [1.450, 0.084, 0.026, 0.044, -0.082, 2.3],
    [1.400, 0.088, 0.028, 0.030, -0.108, 2.3],
    [1.340, 0.086, 0.026, 0.026, -0.120, 2.3],
    [1.280, 0.070, 0.018, 0.018, -0.124, 2.2],
])  # fmt: skip


def sample(table: Float[np.ndarray, "rows columns"], positions: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n c"]:
    """Read the columns of `table` at `positions` in its first column, by monotone cubics (Fritsch and Butland 1984)."""
    rows = table[np.argsort(table[:, 0])]
    x, y = rows[:, 0], rows[:, 1:]
    step = np.diff(x)[:, None]
    rise = np.diff(y, axis=0) / step
    slope = _slopes(step, rise)
    cell = np.clip(np.searchsorted(x, positions, side="right") - 1, 0, len(x) - 2)
    t, width = ((positions - x[cell]) / step[cell, 0])[:, None], step[cell]
    start, end = (
        y[cell] * (1 + 2 * t) + slope[cell] * width * t,
        y[cell + 1] * (3 - 2 * t) - slope[cell + 1] * width * (1 - t),
    )
    return start * (1 - t) ** 2 + end * t**2


def _slopes(step: np.ndarray, rise: np.ndarray) -> np.ndarray:
    """Weighted harmonic means of the rises on both sides; zero at extremes, so no profile overshoots its rows."""
    before, after = step[:-1] + 2 * step[1:], 2 * step[:-1] + step[1:]
    same = rise[:-1] * rise[1:] > 0
    safe = np.where(same, rise[:-1], 1.0), np.where(same, rise[1:], 1.0)
    inner = np.where(same, (before + after) / (before / safe[0] + after / safe[1]), 0.0)
    return np.concatenate(
        [_end(step[0], step[1], rise[0], rise[1])[None], inner, _end(step[-1], step[-2], rise[-1], rise[-2])[None]]
    )


def _end(near: np.ndarray, far: np.ndarray, rise: np.ndarray, next_rise: np.ndarray) -> np.ndarray:
    """Slope at an end: of the parabola through three rows, kept monotone."""
    slope = ((2 * near + far) * rise - near * next_rise) / (near + far)
    slope = np.where(slope * rise <= 0, 0.0, slope)
    steep = (rise * next_rise <= 0) & (np.abs(slope) > 3 * np.abs(rise))
    return np.where(steep, 3 * rise, slope)
