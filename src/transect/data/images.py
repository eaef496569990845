"""Pictures from files: PNG, JPEG, TIFF, BMP and WebP, whole, by windows, or the header only.

The kind of a file is read from its first bytes, never from its name, and only the decoders of
these five kinds are ever run. Sizes are checked against a bound before anything is decoded.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.data.tiff import ArrayReader, Reader, TiffReader, damaged, oriented
from transect.data.tiff_writer import geo_tags, write_tiff_bands
from transect.errors import TransectError

__all__ = [
    "IMAGE_SUFFIXES",
    "LIMIT_PX",
    "ArrayReader",
    "Reader",
    "geo_tags",
    "image_info",
    "open_reader",
    "read_image",
    "read_labels",
    "read_void",
    "write_tiff_bands",
]

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".webp"}
)
"""Names that are taken for pictures when a folder is listed."""
LIMIT_PX = 400_000_000
"""Most pixels of a picture that must be decoded whole (20,000 x 20,000)."""
_MOST_PX_OF_FEW_BYTES = 50_000_000
_PX_PER_BYTE = 20_000  # one colour at one bit a pixel, deflated, has 8,256

_MODES = {"1": 1, "L": 1, "I;16": 1, "I;16B": 1, "I;16L": 1, "I": 1, "LA": 2, "RGBA": 4, "PA": 4}
_OTHERS = {
    b"GIF8": "a GIF",
    b"%PDF": "a PDF",
    b"\x00\x00\x00\x0cjP": "a JPEG 2000",
    b"\x89HDF": "an HDF5 file",
    b"8BPS": "a Photoshop file",
    b"<svg": "an SVG drawing",
    b"<?xm": "an XML file",
    b"PK\x03\x04": "a zip archive",
    b"version https": "a Git LFS pointer, not the picture itself",
}


def read_image(path: Path, *, limit_px: int = LIMIT_PX) -> NDArray[Any]:
    """Decode a picture, upright.

    EXIF and TIFF orientation are applied and palettes become colours. The rule for types: 8-bit
    and 16-bit unsigned integers and 32-bit floats stay as they are; bits become 0 or 255, and 2
    and 4 bits are stretched to 0..255; every other number (int16, int32, uint32, float64, ...)
    becomes the float32 of the same value.

    Args:
        path: The file; its first bytes decide how it is read.
        limit_px: Most pixels (height times width) to decode.

    Returns:
        (H, W, C) uint8, uint16 or float32. C is 1 for grey, 3 for RGB (also from palettes and
        CMYK), or the number of bands of a TIFF; alpha is left out. TIFF pixels without data hold
        the mean of others: see ``read_void``.

    Raises:
        TransectError: If the file is missing, empty, truncated, damaged, larger than the limit,
            or of another kind.
    """
    if _kind(path) == "tiff":
        reader = TiffReader(path)
        _check_pixels(path, reader.shape[:2], limit_px)
        return reader.window(0, 0, *reader.shape[:2])
    return _decoded(path, limit_px, labels=False)


def read_void(path: Path) -> NDArray[np.bool_] | None:
    """Which pixels of a picture hold no data: NaN, GDAL's nodata number, or nothing but alpha.

    Args:
        path: The file.

    Returns:
        (H, W) bool, or None for a picture that cannot have such pixels: all but some TIFFs.

    Raises:
        TransectError: As ``read_image``.
    """
    if _kind(path) != "tiff":
        return None
    reader = TiffReader(path)
    return reader.void(0, 0, *reader.shape[:2]) if reader.may_be_void else None


def read_labels(path: Path, *, limit_px: int = LIMIT_PX) -> NDArray[np.int32]:
    """Decode a mask or label picture: the stored numbers, not the colours shown.

    Palette pictures give their indices, bits give 0 or 1, RGB pictures are accepted if all
    their colour channels agree, wholly transparent pixels give 0. Fractions are accepted if there
    is but one of them beside 0, and become 1.

    Args:
        path: The file.
        limit_px: Most pixels to decode.

    Returns:
        (H, W) int32, upright; -1 is "not labelled", the only negative label.

    Raises:
        TransectError: As ``read_image``, and if the picture has colours, fractions, or values
            that no label can have.
    """
    if _kind(path) == "tiff":
        reader = TiffReader(path, labels=True)
        _check_pixels(path, reader.shape[:2], limit_px)
        stored = reader.window(0, 0, *reader.shape[:2])
    else:
        stored = _decoded(path, limit_px, labels=True)
    colours = stored
    first = colours[..., 0]
    if any(not np.array_equal(first, colours[..., c]) for c in range(1, colours.shape[2])):
        raise TransectError(
            f"{path} has colours, and a mask needs one number per pixel. Save it as a grey or "
            "palette picture with 0 for background and 1, 2, 3 ... for classes or objects."
        )
    if first.dtype.kind == "f" and not np.array_equal(first, np.rint(first)):
        first = _from_fractions(path, first)
    wide = first.dtype.itemsize > 2 or first.dtype.kind in "if"
    low, high = (first.min(), first.max()) if wide and first.size else (0, 0)
    if high > 2**31 - 1:
        raise TransectError(
            f"{path} has values from {low} to {high}, and labels run from 0 to 2147483647. "
            "Number its objects from 1."
        )
    if low < -1:
        raise TransectError(
            f"{path} has the negative label {low:g}. Use 0 for background, 1, 2, 3 ... for classes "
            "or objects, and -1 for what is not labelled."
        )
    return first.astype(np.int32)


def _from_fractions(path: Path, values: NDArray[Any]) -> NDArray[Any]:
    """A mask of 0 and one fraction as 0 and 1; any other is asked about."""
    some = np.unique(values)
    if len(some) <= 2 and some[0] == 0:
        return (values != 0).astype(np.uint8)
    if len(some) and some[0] >= 0 and some[-1] <= 1:
        raise TransectError(
            f"{path} has shares from {some[0]:g} to {some[-1]:g}, as probabilities and soft masks "
            "have, and a mask needs whole numbers. Decide at a threshold (mask > 0.5) and save 0 "
            "and 255 as an 8-bit PNG."
        )
    raise TransectError(
        f"{path} has fractions, and a mask needs whole numbers. Save it as 8-bit or 16-bit."
    )


def image_info(path: Path) -> tuple[tuple[int, int], int, str]:
    """Read a picture's size, channels and type from its header.

    Args:
        path: The file.

    Returns:
        (height, width) upright, channels, and ``uint8``, ``uint16`` or ``float32``: what
        ``read_image`` would give, if the pixels are whole.

    Raises:
        TransectError: If the header cannot be read.
    """
    kind = _kind(path)
    if kind == "tiff":
        reader = TiffReader(path)
        return reader.shape[:2], reader.shape[2], reader.dtype.name
    dtype = "uint8"
    try:
        with path.open("rb") as handle:
            if kind == "webp":
                start = handle.read(64)
                (height, width), channels = _webp_header(start), 3
                turned = _webp_orientation(handle, start) >= 5
            else:
                image = _opened(handle, kind)
                (width, height), channels = image.size, _channels(image)
                channels -= channels in (2, 4)  # alpha
                turned = _orientation(image) >= 5
                handle.seek(0)
                start = handle.read(64)
                if kind == "png" and _png_bits(start) == 16:
                    channels, dtype = (3 if start[25] in (2, 6) else 1), "uint16"
        size = (width, height) if turned else (height, width)
        return size, channels, dtype
    except TransectError:
        raise
    except Exception as error:  # decoders may raise anything on strangers' bytes
        raise damaged(path, error) from error


def open_reader(path: Path, *, limit_px: int = LIMIT_PX) -> Reader:
    """Open a picture to read windows of it.

    TIFFs of any size are streamed; other kinds are decoded once and kept.

    Args:
        path: The file.
        limit_px: Most pixels of a kind that cannot be streamed.

    Returns:
        A reader with ``shape`` (H, W, C), ``dtype`` and ``window(top, left, height, width)``.

    Raises:
        TransectError: As ``read_image``.
    """
    if _kind(path) == "tiff":
        return TiffReader(path)
    return ArrayReader(_decoded(path, limit_px, labels=False))


def _kind(path: Path) -> str:
    """What a file is, by its first bytes."""
    try:
        with path.open("rb") as handle:
            start = handle.read(16)
    except OSError as error:
        if path.is_dir():
            raise TransectError(f"{path} is a folder, not a picture. Name a file.") from error
        raise damaged(path, error) from error
    if not start:
        raise TransectError(f"{path} is empty (zero bytes). Restore it from the original.")
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if start.startswith(b"\xff\xd8"):
        return "jpeg"
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if start.startswith(b"BM"):
        return "bmp"
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "webp"
    other = next((name for magic, name in _OTHERS.items() if start.startswith(magic)), None)
    raise TransectError(
        f"{path} is {other or 'not a picture that we read'}. Save it as PNG, JPEG, TIFF, BMP or "
        "WebP."
    )


def _opened(handle: Any, kind: str) -> Any:
    """Parse a header with the one decoder that fits; nothing is decoded yet."""
    # Image.open would try every plugin and apply Pillow's own, process-wide size limit.
    from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

    factory: Any = {
        "png": PngImagePlugin.PngImageFile,
        "jpeg": JpegImagePlugin.JpegImageFile,
        "bmp": BmpImagePlugin.BmpImageFile,
        "webp": WebPImagePlugin.WebPImageFile,
    }[kind]
    return factory(handle)


def _decoded(path: Path, limit_px: int, *, labels: bool) -> NDArray[Any]:
    """Decode a PNG, JPEG, BMP or WebP: (H, W, C)."""
    kind = _kind(path)
    try:
        data = path.read_bytes()
        if kind == "webp":  # its decoder allocates the canvas when the header is parsed
            _check_pixels(path, _webp_header(data[:64]), limit_px)
        image = _opened(io.BytesIO(data), kind)
        _check_pixels(path, (image.size[1], image.size[0]), limit_px)
        orientation = _orientation(image)
        if kind == "png" and _png_bits(data) == 16:
            array = _png16(data)
        else:
            image.load()
            array = _stored(image) if labels else _shown(image)
        if array.ndim == 3 and array.shape[2] in (2, 4):
            array = _under_alpha(array) if labels else array[..., :-1]
    except TransectError:
        raise
    except Exception as error:  # decoders may raise anything on strangers' bytes
        raise damaged(path, error) from error
    return oriented(array if array.ndim == 3 else array[..., None], orientation)


def _under_alpha(array: NDArray[Any]) -> NDArray[Any]:
    """The numbers of a mask with alpha: what is wholly transparent shows nothing.

    Drawing programs keep any colour under transparent pixels, white for instance; a mask whose
    colour is 0 everywhere that it can be seen is drawn in its alpha alone.
    """
    colours, alpha = array[..., :-1], array[..., -1:]
    if (alpha == alpha.reshape(-1)[:1]).all():
        return colours
    colours = np.where(alpha == 0, 0, colours).astype(array.dtype)
    return colours if colours.any() else alpha


def _shown(image: Any) -> NDArray[Any]:
    """The pixels as they are meant to be seen: palettes and CMYK become RGB."""
    if image.mode == "1":
        return np.asarray(image, np.uint8) * np.uint8(255)
    if image.mode in ("P", "PA"):
        return np.asarray(image.convert("RGBA" if _channels(image) == 4 else "RGB"))
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        return np.asarray(image.convert("RGB"))
    return np.asarray(image)


def _stored(image: Any) -> NDArray[Any]:
    """The numbers in the file: palette indices, bits as 0 and 1."""
    if image.mode == "1":
        return np.asarray(image, np.uint8)
    if image.mode == "PA":
        return np.asarray(image)[..., :1]
    if image.mode in ("P", "L", "LA", "RGB", "RGBA"):
        return np.asarray(image)
    return np.asarray(image.convert("RGB"))


def _png16(data: bytes) -> NDArray[Any]:
    """A 16-bit PNG; Pillow would cut colours down to 8 bits."""
    import cv2

    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    # OpenCV fills what a truncated file lacks with zeros, so let Pillow, which refuses, look first.
    _opened(io.BytesIO(data), "png").load()
    _check_chunks(data)
    array = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if array is None or array.dtype != np.uint16:
        raise ValueError("the 16-bit pixels cannot be decoded")
    colour_type = data[25]
    if array.ndim == 2 or array.shape[2] == 1:
        return array.reshape(*array.shape[:2], 1)
    if colour_type == 4:  # grey with alpha, which OpenCV gives as BGRA
        return np.ascontiguousarray(array[..., [0, 3]])
    if colour_type == 0:
        return np.ascontiguousarray(array[..., :1])
    order = [2, 1, 0, 3] if colour_type == 6 else [2, 1, 0]
    return np.ascontiguousarray(array[..., order])


def _check_chunks(data: bytes) -> None:
    """Refuse a PNG with a chunk longer than the file: OpenCV makes room for it first, 4 GB."""
    at = 8
    while at < len(data):
        kind = data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        if at > len(data):
            raise ValueError("a chunk reaches beyond the file")
        if kind == b"IEND":
            return


def _png_bits(data: bytes) -> int:
    """Bits per sample, from the header of a PNG."""
    return data[24] if len(data) > 25 else 0


def _channels(image: Any) -> int:
    """Channels that decoding will give."""
    if image.mode == "P":
        return 4 if "transparency" in image.info else 3
    return _MODES.get(image.mode, 3)


def _orientation(image: Any) -> int:
    """The EXIF orientation, 1 if there is none or it cannot be parsed."""
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # asking Pillow would decode the whole picture to look for a late chunk
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # a damaged EXIF block does not make the pixels unreadable
        return 1
    return orientation if orientation in range(1, 9) else 1


def _webp_header(start: bytes) -> tuple[int, int]:
    """(height, width) of a WebP from its first chunk."""
    chunk, body = start[12:16], start[20:]
    if chunk == b"VP8X" and len(body) >= 10:
        width = 1 + int.from_bytes(body[4:7], "little")
        height = 1 + int.from_bytes(body[7:10], "little")
    elif chunk == b"VP8L" and len(body) >= 5 and body[0] == 0x2F:
        packed = int.from_bytes(body[1:5], "little")
        width, height = 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    elif chunk == b"VP8 " and len(body) >= 10 and body[3:6] == b"\x9d\x01\x2a":
        width = int.from_bytes(body[6:8], "little") & 0x3FFF
        height = int.from_bytes(body[8:10], "little") & 0x3FFF
    else:
        raise ValueError("not a WebP header")
    return height, width


def _webp_orientation(handle: Any, start: bytes) -> int:
    """The EXIF orientation of a WebP; chunks are walked, for the decoder would allocate."""
    if start[12:16] != b"VP8X" or not start[20] & 0x08:
        return 1
    from PIL import Image

    handle.seek(12)
    while len(header := handle.read(8)) == 8:
        length = int.from_bytes(header[4:], "little")
        if header[:4] == b"EXIF":
            exif = Image.Exif()
            try:
                exif.load(handle.read(min(length, 1 << 20)))
                return int(exif.get(0x0112, 1))
            except Exception:  # a damaged EXIF block does not make the pixels unreadable
                return 1
        handle.seek(length + length % 2, io.SEEK_CUR)
    return 1


def _check_pixels(path: Path, size_hw: tuple[int, int], limit_px: int) -> None:
    """Refuse pictures that would not fit into memory, before they are decoded."""
    height, width = size_hw
    if height < 1 or width < 1:
        raise TransectError(f"{path} has no pixels. Restore it from the original.")
    if height * width > limit_px:
        raise TransectError(
            f"{path} is {height} x {width} pixels, more than the {limit_px / 1e6:.0f} million "
            "that are decoded at once. Save it as a tiled TIFF, which is read piece by piece."
        )
    size = path.stat().st_size
    if height * width > max(_MOST_PX_OF_FEW_BYTES, _PX_PER_BYTE * size):
        raise TransectError(
            f"{path} claims {height} x {width} pixels in {size} bytes, which no photo does. "
            "Restore it from the original, or remove it."
        )
