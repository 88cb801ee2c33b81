"""Even parts of a number of places: a rank's slice of a logical batch, a batch's slice of an epoch.

Source: ours. Trade-off: slices differ by one where places do not divide, so whoever gathers them must take uneven ones.
"""

__all__ = ["slice_of"]


def slice_of(total: int, part: int, parts: int) -> range:
    """Return one part of `total` places: consecutive, together all of them, sizes differing by at most one.

    64 places in 3 parts are 22, 21 and 21.
    """
    assert 0 <= part < parts, f"part {part} of {parts}"
    size, more = divmod(total, parts)
    begin = part * size + min(part, more)
    return range(begin, begin + size + (part < more))
