"""A transformer's block, position resizing and TransReID's shuffle in plain numpy, float64, one number at a time."""

import math

import numpy as np

Weights = dict[str, np.ndarray]


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float) -> np.ndarray:
    out = np.empty_like(x)
    for place in np.ndindex(x.shape[:-1]):
        row = x[place]
        out[place] = (row - row.mean()) / math.sqrt(((row - row.mean()) ** 2).mean() + eps) * weight + bias
    return out


def attention(x: np.ndarray, w: Weights, heads: int) -> np.ndarray:
    """(n, d) -> (n, d): Vaswani et al. 2017, section 3.2; queries, keys and values are rows of one matrix."""
    n, d = x.shape
    size = d // heads
    joint = x @ w["qkv.weight"].T + w["qkv.bias"]
    gathered = np.zeros((n, d))
    for head in range(heads):
        q, k, v = (joint[:, part * d + head * size : part * d + (head + 1) * size] for part in range(3))
        for i in range(n):
            scores = np.array([q[i] @ k[j] / math.sqrt(size) for j in range(n)])
            shares = np.exp(scores - scores.max())
            gathered[i, head * size : (head + 1) * size] = sum(shares[j] / shares.sum() * v[j] for j in range(n))
    return gathered @ w["proj.weight"].T + w["proj.bias"]


def perceptron(x: np.ndarray, w: Weights) -> np.ndarray:
    hidden = x @ w["fc1.weight"].T + w["fc1.bias"]
    phi = np.array([0.5 * (1 + math.erf(value / math.sqrt(2))) for value in hidden.ravel()]).reshape(hidden.shape)
    return (hidden * phi) @ w["fc2.weight"].T + w["fc2.bias"]


def block(x: np.ndarray, w: Weights, heads: int, keep: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """One image's tokens through a pre-norm block; `keep` scales its two residual branches."""

    def inner(name: str) -> Weights:
        return {key.removeprefix(f"{name}."): value for key, value in w.items() if key.startswith(f"{name}.")}

    x = x + keep[0] * attention(layer_norm(x, w["norm1.weight"], w["norm1.bias"], 1e-6), inner("attn"), heads)
    return x + keep[1] * perceptron(layer_norm(x, w["norm2.weight"], w["norm2.bias"], 1e-6), inner("mlp"))


def patches(image: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    """(3, H, W) -> (N, d), row by row: TransReID, section 3.1."""
    size = weight.shape[2]
    rows, columns = ((side - size) // stride + 1 for side in image.shape[1:])
    found: list[np.ndarray] = []
    for y in range(rows):
        for x in range(columns):
            window = image[:, y * stride : y * stride + size, x * stride : x * stride + size]
            found.append(np.array([(window * kernel).sum() for kernel in weight]) + bias)
    return np.stack(found)


def bilinear(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    """(h, w, d) -> (height, width, d); pixel centres at i + 1/2, edges repeated."""
    h, w, d = grid.shape
    out = np.zeros((height, width, d))
    for y in range(height):
        for x in range(width):
            at_y = max((y + 0.5) * h / height - 0.5, 0.0)
            at_x = max((x + 0.5) * w / width - 0.5, 0.0)
            y0, x0 = int(at_y), int(at_x)
            y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
            b, a = at_y - y0, at_x - x0
            top = (1 - a) * grid[y0, x0] + a * grid[y0, x1]
            out[y, x] = (1 - b) * top + b * ((1 - a) * grid[y1, x0] + a * grid[y1, x1])
    return out


def shuffle_unit(tokens: np.ndarray, shift: int, groups: int) -> np.ndarray:
    """(1 + N, d) -> (N or N + 1, d), the class token dropped: TransReID, eq. 2, with its code's remainder."""
    rolled = [tokens[i] for i in range(shift, len(tokens))] + [tokens[i] for i in range(1, shift)]
    if len(rolled) % groups:
        rolled.append(rolled[-2])
    table = np.array(rolled).reshape(groups, -1, tokens.shape[1])
    return table.transpose(1, 0, 2).reshape(-1, tokens.shape[1])


def jigsaw(
    tokens: np.ndarray, w: Weights, heads: int, norm: tuple[np.ndarray, np.ndarray], keep: np.ndarray
) -> np.ndarray:
    """(1 + N, d) -> (4, d): TransReID, section 3.2, shift 5 and 2 groups; `keep` (4, 2) drops branches."""
    order, length = shuffle_unit(tokens, 5, 2), (len(tokens) - 1) // 4
    found: list[np.ndarray] = []
    for piece in range(4):
        whole = np.concatenate([tokens[:1], order[piece * length : (piece + 1) * length]])
        out = layer_norm(block(whole, w, heads, (keep[piece, 0], keep[piece, 1])), *norm, 1e-6)
        found.append(out[0])
    return np.stack(found)
