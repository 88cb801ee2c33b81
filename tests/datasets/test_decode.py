"""Decoding: right pixels for what is sound, a reason for what is not, and no allocation for bombs."""

import io
import pickle
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from resight.datasets.decode import Undecodable, check_picture, decode, decode_plane, encode_plane, image_size, kind_of
from tests.datasets.making import encoded, jpeg, pixels


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(height: int, width: int, pixels: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_png_pixels_are_exact_rgb():
    array = pixels(1)
    assert np.array_equal(decode(encoded(array, "PNG")), array)


def test_jpeg_pixels_are_those_of_the_codec():
    data = jpeg(2)
    out = decode(memoryview(data))
    assert out.shape == (128, 64, 3)
    assert out.dtype == np.uint8
    assert np.abs(out.astype(int) - np.asarray(Image.open(io.BytesIO(data))).astype(int)).max() <= 8


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_greyscale_becomes_three_equal_channels(kind: str):
    out = decode(encoded(pixels(3)[..., 0], kind))
    assert out.shape == (128, 64, 3)
    assert (out[..., 0] == out[..., 1]).all()
    assert (out[..., 0] == out[..., 2]).all()


@pytest.mark.parametrize("mode", ["RGBA", "P", "I;16", "1"])
def test_other_png_modes_become_rgb(mode: str):
    array = pixels(4, height=8, width=8)
    image = Image.fromarray(array[..., 0].astype(np.uint16)) if mode == "I;16" else Image.fromarray(array).convert(mode)
    out = io.BytesIO()
    image.save(out, "PNG")
    assert decode(out.getvalue()).shape == (8, 8, 3)
    assert decode(out.getvalue()).dtype == np.uint8


def test_orientation_tags_are_ignored():
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    for kind in ("JPEG", "PNG"):
        assert decode(encoded(pixels(5), kind, exif=exif)).shape == (128, 64, 3)


def test_progressive_jpeg():
    assert decode(encoded(pixels(6), "JPEG", progressive=True)).shape == (128, 64, 3)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"GIF89a not supported", "neither JPEG nor PNG"),
        (b"\xff\xd8\xff", "JPEG header"),
        (b"\x89PNG\r\n\x1a\n", "IHDR"),
        (b"\xff\xd8\xff\xe0" + bytes(200), "JPEG header"),
    ],
)
def test_rubbish_has_a_reason(data: bytes, reason: str):
    with pytest.raises(Undecodable, match=reason) as caught:
        decode(data)
    assert pickle.loads(pickle.dumps(caught.value)).reason == caught.value.reason


def test_cmyk_is_refused_with_a_cure():
    out = io.BytesIO()
    Image.fromarray(pixels(7)).convert("CMYK").save(out, "JPEG")
    with pytest.raises(Undecodable, match="convert it to RGB"):
        decode(out.getvalue())


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_truncated_files_are_refused(kind: str, share: float):
    whole = encoded(pixels(8), kind)
    with pytest.raises(Undecodable):
        decode(whole[: int(len(whole) * share)])


def test_flipped_bit_in_png_is_found():
    data = bytearray(encoded(pixels(9), "PNG"))
    data[len(data) // 2] ^= 1
    with pytest.raises(Undecodable, match="checksum"):
        decode(bytes(data))


def test_png_with_too_few_pixels_is_refused():
    short = png(64, 64, zlib.compress(bytes(64 * 3 + 1)))
    with pytest.raises(Undecodable, match="pixels"):
        decode(short)
    empty = png(64, 64, b"").replace(chunk(b"IDAT", b""), b"")
    with pytest.raises(Undecodable, match="no pixels"):
        decode(empty)


def test_bombs_are_refused_from_the_header():
    with pytest.raises(Undecodable, match="limit"):
        decode(png(60_000, 60_000, zlib.compress(b"")))
    bomb = bytearray(jpeg(10))
    at = bomb.index(b"\xff\xc0")
    bomb[at + 5 : at + 9] = struct.pack(">HH", 65_000, 65_000)
    with pytest.raises(Undecodable, match="limit"):
        decode(bytes(bomb))
    with pytest.raises(Undecodable, match="0 x 5"):
        decode(png(0, 5, b""))


def test_limit_is_a_parameter():
    data = jpeg(11)
    assert decode(data, max_pixels=128 * 64).shape == (128, 64, 3)
    with pytest.raises(Undecodable, match="8,191"):
        decode(data, max_pixels=128 * 64 - 1)


def test_size_and_kind_come_from_content():
    assert image_size(jpeg(12, height=50, width=30)) == (50, 30)
    assert image_size(encoded(pixels(12, height=20, width=10), "PNG")) == (20, 10)
    assert kind_of(jpeg(12)) == "jpg"


def test_planes_survive_exactly_and_only_grey_ones_count():
    plane = np.arange(128 * 64, dtype=np.uint8).reshape(128, 64)
    assert np.array_equal(decode_plane(encode_plane(plane)), plane)
    assert encode_plane(plane) == encode_plane(plane.copy())
    with pytest.raises(Undecodable, match="one channel"):
        decode_plane(encoded(pixels(13), "PNG"))
    with pytest.raises(Undecodable, match="one channel"):
        decode_plane(simplejpeg.encode_jpeg(pixels(13)))


def verdict(act: Callable[[bytes], object], data: bytes) -> str:
    try:
        act(data)
    except Undecodable as error:
        return error.reason
    return "sound"


DAMAGED = [
    jpeg(1),
    encoded(pixels(2), "JPEG", progressive=True),
    encoded(pixels(3)[:, :, 0], "JPEG"),
    encoded(pixels(4), "JPEG", subsampling=0, restart_marker_blocks=2),
    encoded(pixels(5, height=37, width=21), "JPEG", quality=30, optimize=True),
    encoded(pixels(6), "PNG"),
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(DAMAGED), st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=3), st.integers(0))
def test_checking_says_what_decoding_would(whole: bytes, changes: list[tuple[int, int]], cut: int):
    data = bytearray(whole)
    for at, value in changes:
        data[at % len(data)] = value
    data = bytes(data[: len(data) - cut % len(data)] if cut % 3 == 0 else data)
    told, wanted = verdict(check_picture, data), verdict(decode, data)
    assert (told == "sound") == (wanted == "sound"), (told, wanted)
    if wanted == "sound":
        assert check_picture(data) == (kind_of(data), *decode(data).shape[:2])


def test_checking_refuses_what_decoding_refuses():
    cmyk = Image.fromarray(np.zeros((8, 8, 4), np.uint8), "CMYK")
    out = io.BytesIO()
    cmyk.save(out, "JPEG")
    for data in (out.getvalue(), b"", b"BM", encoded(pixels(1), "PNG")[:-5]):
        assert verdict(check_picture, data) == verdict(decode, data) != "sound"
    assert "limit of 100" in verdict(lambda data: check_picture(data, max_pixels=100), jpeg(1))
