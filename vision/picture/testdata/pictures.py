"""Makes the pictures of this folder and pictures.json, which tells what each must decode to.

    python pictures.py

The expected pixels are Pillow's: ImageOps.exif_transpose(Image.open(file)).convert("RGB"), but for greys of more
than 8 bits, which convert("RGB") clips at 255: see grey(). pictures.json holds the sha256 of these bytes; the bytes
themselves, for lossy pictures that are small, lie one after another in pictures.rgb.gz.
"""
import gzip
import hashlib
import io
import itertools
import json
import os
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps, features
from PIL import __version__ as pillow

here = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(20)


def scene(w, h, noise=6):
    """A made-up scene with slopes, edges and some noise: [h, w, 3] uint8."""
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    s = max(w, h)
    rgb = np.stack([
        120 + 90 * np.sin(5 * x / s + 1) * np.cos(4 * y / s),
        110 + 80 * np.cos(7 * (x + y) / s),
        130 + 100 * np.sin(6 * y / s - 3 * x / s),
    ], -1)
    for _ in range(6):
        cx, cy, r = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(0.05, 0.22) * s
        rgb[(x - cx) ** 2 + (y - cy) ** 2 < r * r] = rng.uniform(0, 255, 3)
    return np.clip(rgb + rng.normal(0, noise, rgb.shape), 0, 255).astype(np.uint8)


def picture(w, h, mode="RGB", noise=6):
    im = Image.fromarray(scene(w, h, noise))
    if mode == "P":
        return im.quantize(37)
    if mode == "RGBA":
        y, x = np.mgrid[0:h, 0:w]
        im.putalpha(Image.fromarray(((x * 5 + y * 3) % 256).astype(np.uint8)))
        return im
    return im.convert(mode)


def save(im, format, **options):
    out = io.BytesIO()
    im.save(out, format, **options)
    return bytearray(out.getvalue())


def jpeg(w, h, mode="RGB", noise=6, **options):
    return save(picture(w, h, mode, noise), "JPEG", **{"quality": 85, **options})


def exif(orientation):
    e = Image.Exif()
    e[0x0112] = orientation
    return e


def sampling(data, luma):
    """The same blocks, said to be sampled otherwise: the luma factors are a byte of the frame header."""
    data[data.index(b"\xff\xc0\x00\x11") + 11] = luma
    return data


def ycck(data):
    data[data.index(b"Adobe") + 11] = 2
    return data


def before_end(data, extra):
    assert data[-2:] == b"\xff\xd9"
    return data[:-2] + extra + data[-2:]


def png(w, h, depth, kind, rows, interlace=0, extra=b""):
    """rows: a list of raw rows (each pass's rows if interlaced), without filter bytes."""
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    head = struct.pack(">IIBBBBB", w, h, depth, kind, 0, 0, interlace)
    body = zlib.compress(b"".join(b"\0" + bytes(r) for r in rows), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def interlaced(a):
    """The rows of Adam7's seven passes over [h, w, c] uint8."""
    rows = []
    for y0, x0, dy, dx in [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]:
        part = a[y0::dy, x0::dx]
        if part.size:
            rows += [r.tobytes() for r in part]
    return rows


def wide(w, h):
    """[h, w, 3] big-endian uint16."""
    return (scene(w, h).astype(np.uint32) * 257 - 100).clip(0, 65535).astype(">u2")


def bmp(w, h, bits, rows, palette=b""):
    """A BMP with a 40-byte header; h < 0 means rows from the top."""
    body = b"".join(bytes(r) + b"\0" * (-len(r) % 4) for r in rows)
    colors = len(palette) // 4
    head = struct.pack("<IiiHHIIiiII", 40, w, h, 1, bits, 0, len(body), 2835, 2835, colors, 0)
    start = 14 + 40 + len(palette)
    return struct.pack("<2sIHHI", b"BM", start + len(body), 0, 0, start) + head + palette + body


def nibbles(a):
    a = np.pad(a, ((0, 0), (0, a.shape[1] % 2)))
    return [bytes(r) for r in (a[:, 0::2] << 4 | a[:, 1::2]).astype(np.uint8)]


def animated(first, *others, format="GIF", **options):
    return save(first, format, save_all=True, append_images=others, duration=80, **options)


def on_canvas(gif, w, h, left, top):
    """The same GIF on a larger canvas, its first frame at (left, top)."""
    gif[6:10] = struct.pack("<HH", w, h)
    at = gif.index(b"\x2c\0\0\0\0", 13 + 3 * 2 ** ((gif[10] & 7) + 1))
    gif[at + 1:at + 5] = struct.pack("<HH", left, top)
    return gif


def clear(gif, index=5):
    """The same GIF with one index transparent."""
    at = gif.index(b"\x2c\0\0\0\0", 13 + 3 * 2 ** ((gif[10] & 7) + 1))
    return gif[:at] + b"\x21\xf9\x04\x01\0\0" + bytes([index]) + b"\0" + gif[at:]


XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="8"/></rdf:RDF></x:xmpmeta>"""


def pictures():
    yield "photo-420.jpg", jpeg(500, 375, quality=88)
    yield "photo-420-portrait.jpg", jpeg(333, 500, quality=75)
    yield "photo-progressive.jpg", jpeg(400, 301, quality=80, progressive=True)
    yield "odd-444.jpg", jpeg(61, 47, subsampling="4:4:4")
    yield "odd-422.jpg", jpeg(61, 47, subsampling="4:2:2")
    yield "odd-420.jpg", jpeg(61, 47, subsampling="4:2:0")
    yield "even-420.jpg", jpeg(64, 48)
    yield "square-440.jpg", sampling(jpeg(48, 48, subsampling="4:2:2"), 0x12)
    yield "square-411.jpg", sampling(jpeg(64, 64, subsampling="4:2:0"), 0x41)
    yield "odd-progressive-420.jpg", jpeg(75, 51, progressive=True)
    yield "odd-progressive-444.jpg", jpeg(51, 75, progressive=True, subsampling="4:4:4", quality=95)
    yield "quality-100.jpg", jpeg(40, 33, quality=100)
    yield "quality-5.jpg", jpeg(83, 57, quality=5, noise=0)
    yield "optimised.jpg", jpeg(66, 43, optimize=True)
    yield "restart-blocks.jpg", jpeg(93, 71, restart_marker_blocks=2)
    yield "restart-rows.jpg", jpeg(93, 71, restart_marker_rows=1)
    yield "grey.jpg", jpeg(59, 45, "L")
    yield "grey-progressive.jpg", jpeg(37, 65, "L", progressive=True)
    yield "rgb-not-ycc.jpg", jpeg(45, 31, keep_rgb=True)
    yield "cmyk.jpg", jpeg(53, 39, "CMYK")
    yield "ycck.jpg", ycck(jpeg(53, 39, "CMYK"))
    yield "one-pixel.jpg", jpeg(1, 1)
    yield "one-wide.jpg", jpeg(1, 97)
    yield "one-high.jpg", jpeg(131, 1)
    yield "three-by-two.jpg", jpeg(3, 2)
    yield "long-thin.jpg", jpeg(8000, 3, noise=1)
    yield "tall-thin.jpg", jpeg(2, 8000, noise=1, quality=70)
    yield "trailing-bytes.jpg", jpeg(34, 26) + b"what a camera added after the end"
    yield "bytes-before-end.jpg", before_end(jpeg(34, 26), b"\x12\x34\x56")
    for i in range(1, 9):
        yield f"exif-{i}.jpg", jpeg(30, 19, exif=exif(i), quality=92)
    yield "exif-6-progressive.jpg", jpeg(47, 35, exif=exif(6), progressive=True)
    yield "exif-6-cmyk.jpg", jpeg(29, 22, "CMYK", exif=exif(6))
    yield "xmp-8.jpg", jpeg(31, 20, xmp=XMP)

    yield "rgb.png", save(picture(67, 45, noise=2), "PNG")
    yield "rgba.png", save(picture(43, 37, "RGBA", noise=2), "PNG")
    yield "grey.png", save(picture(53, 41, "L", noise=2), "PNG")
    yield "grey-alpha.png", save(picture(35, 29, "RGBA", noise=2).convert("LA"), "PNG")
    yield "grey-1-bit.png", save(picture(45, 33, "1"), "PNG")
    grey = np.asarray(picture(41, 27, "L", noise=0)) >> 4
    yield "grey-4-bit.png", png(41, 27, 4, 0, nibbles(grey))
    yield "grey-16-bit.png", save(Image.fromarray(wide(39, 28)[..., 0].astype(np.uint16)), "PNG")
    w = wide(33, 22)
    yield "rgb-16-bit.png", png(33, 22, 16, 2, [r.tobytes() for r in w])
    yield "rgb-transparent-colour.png", save(picture(31, 24, noise=2), "PNG", transparency=(120, 110, 130))
    yield "grey-transparent.png", save(picture(31, 24, "L", noise=2), "PNG", transparency=120)
    yield "palette.png", save(picture(57, 43, "P"), "PNG")
    yield "palette-transparent.png", save(picture(57, 43, "P"), "PNG", transparency=bytes(range(0, 185, 5)))
    yield "palette-2-bit.png", save(picture(30, 25).quantize(4), "PNG", bits=2)
    yield "interlaced.png", png(37, 29, 8, 2, interlaced(scene(37, 29, 2)), 1)
    yield "interlaced-grey-3-by-1.png", png(3, 1, 8, 0, interlaced(scene(3, 1)[..., :1]), 1)
    yield "exif-6.png", save(picture(33, 21, noise=2), "PNG", exif=exif(6))
    yield "one-pixel.png", save(picture(1, 1), "PNG")
    yield "one-wide.png", save(picture(1, 8000, noise=0), "PNG")
    yield "long-thin.png", save(picture(8000, 2, noise=0), "PNG")

    yield "palette.gif", save(picture(61, 42, "P"), "GIF")
    yield "interlaced.gif", save(picture(49, 51, "P"), "GIF", interlace=1)
    yield "grey.gif", save(picture(33, 25, "L"), "GIF")
    yield "animated.gif", animated(picture(40, 30, "P"), picture(40, 30, "P"), picture(40, 30, "P"))
    yield "transparent.gif", clear(save(picture(45, 33, "P"), "GIF", interlace=0))
    yield "on-canvas.gif", on_canvas(save(picture(20, 15, "P"), "GIF", interlace=0), 31, 26, 7, 4)
    yield "transparent-on-canvas.gif", on_canvas(clear(save(picture(20, 15, "P"), "GIF", interlace=0)), 31, 26, 7, 4)

    yield "rgb-24-bit.bmp", save(picture(39, 27), "BMP")
    yield "rgba-32-bit.bmp", save(picture(21, 17, "RGBA"), "BMP")
    yield "palette-8-bit.bmp", save(picture(41, 23, "P"), "BMP")
    yield "grey.bmp", save(picture(30, 21, "L"), "BMP")
    yield "one-bit.bmp", save(picture(43, 31, "1"), "BMP")
    yield "top-down.bmp", bmp(19, -14, 24, [r.tobytes() for r in scene(19, 14)[..., ::-1]])
    table = b"".join(bytes([i * 16, 255 - i * 16, i * 7, 0]) for i in range(16))
    yield "palette-4-bit.bmp", bmp(27, 18, 4, nibbles(np.asarray(picture(27, 18, "L")) >> 4), table)

    yield "lossy.webp", save(picture(75, 53), "WEBP", quality=80)
    yield "lossy-even.webp", save(picture(64, 48), "WEBP", quality=60)
    yield "lossy-larger.webp", save(picture(251, 187), "WEBP", quality=75)
    yield "lossy-one-wide.webp", save(picture(1, 40), "WEBP", quality=90)
    yield "lossy-two-pixels.webp", save(picture(2, 1), "WEBP", quality=90)
    yield "lossless.webp", save(picture(47, 33, noise=2), "WEBP", lossless=True)
    yield "lossy-alpha.webp", save(picture(47, 33, "RGBA"), "WEBP", quality=80, exact=True)
    yield "lossless-alpha.webp", save(picture(33, 26, "RGBA", noise=2), "WEBP", lossless=True, exact=True)
    yield "lossless-palette.webp", save(picture(51, 37, "P").convert("RGB"), "WEBP", lossless=True)
    yield "exif-3.webp", save(picture(35, 24), "WEBP", quality=85, exif=exif(3))
    yield "animated.webp", animated(picture(36, 25), picture(36, 25), format="WEBP", quality=80)

    for name in ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"]:
        yield f"rgb-{name.removeprefix('tiff_').replace('_', '-')}.tif", save(picture(37, 26, noise=1), "TIFF", compression=name)
    yield "grey.tif", save(picture(43, 30, "L"), "TIFF")
    yield "grey-16-bit.tif", save(Image.fromarray(wide(31, 23)[..., 0].astype(np.uint16)), "TIFF")
    yield "palette.tif", save(picture(35, 28, "P"), "TIFF")
    yield "one-bit-group4.tif", save(picture(61, 44, "1"), "TIFF", compression="group4")
    yield "rgba.tif", save(picture(25, 18, "RGBA"), "TIFF")
    yield "rgb-predictor.tif", save(picture(29, 33, noise=1), "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    yield "orientation-8.tif", save(picture(33, 20, noise=1), "TIFF", compression="tiff_lzw", tiffinfo={274: 8})
    yield "one-bit-group3-white-is-0.tif", save(picture(53, 38, "1"), "TIFF", compression="group3", tiffinfo={262: 0})
    yield "one-bit-group4-white-is-0.tif", save(picture(29, 47, "1"), "TIFF", compression="group4", tiffinfo={262: 0})


def jpeg_in_tiff(im, **tags):
    return save(im, "TIFF", compression="jpeg", quality=85, **tags)


def netpbm(kind, maximum, a, comment=b""):
    """A PGM or PPM of [h, w] or [h, w, 3] values up to maximum; kind 2 and 3 are text."""
    head = b"P%d\n%s%d %d\n%d\n" % (kind, comment, a.shape[1], a.shape[0], maximum)
    if kind < 4:
        return head + b"\n".join(b" ".join(b"%d" % v for v in row.ravel()) for row in a) + b"\n"
    return head + a.astype(">u2" if maximum > 255 else "u1").tobytes()


def grey(a):
    """Greys of 16 bits to 8: the high byte, but of 12 bits, or of 8, where no value of the picture needs more."""
    shift = 8 if a.max() > 4095 else 4 if a.max() > 255 else 0
    return (a >> shift).astype(np.uint8)[..., None].repeat(3, -1)


def newer():
    """What came later, so that the random numbers of the others stay."""
    w = wide(37, 26)[..., 0].astype(np.uint32)
    yield "grey-12-in-16-bit.png", save(Image.fromarray((w >> 4).astype(np.uint16)), "PNG")
    yield "grey-8-in-16-bit.png", save(Image.fromarray((w >> 8).astype(np.uint16)), "PNG")
    yield "grey-12-in-16-bit.tif", save(Image.fromarray((w >> 4).astype(np.uint16)), "TIFF")
    data = save(picture(35, 24, noise=2), "PNG")
    yield "no-end.png", data[:-12]
    yield "half-an-end.png", data[:-5]
    yield "jfif.jfif", jpeg(48, 36)
    rgb = scene(41, 29)
    yield "jpeg-rgb.tif", jpeg_in_tiff(Image.fromarray(rgb))
    yield "jpeg-grey.tif", jpeg_in_tiff(Image.fromarray(rgb).convert("L"))
    yield "jpeg-ycc.tif", jpeg_in_tiff(Image.fromarray(rgb).convert("YCbCr"))
    yield "jpeg-strips.tif", jpeg_in_tiff(picture(67, 203).convert("YCbCr"), tiffinfo={278: 16})
    yield "colours.ppm", netpbm(6, 255, rgb)
    yield "colours-text.ppm", netpbm(3, 255, rgb[:9, :7], b"# a comment\n")
    yield "colours-100.ppm", netpbm(6, 100, rgb // 3 + 5)
    yield "colours-16-bit.ppm", netpbm(6, 65535, wide(21, 17).astype(np.uint32))
    yield "colours-12-bit.ppm", netpbm(6, 4095, wide(21, 17).astype(np.uint32) >> 4)
    yield "greys.pgm", netpbm(5, 255, rgb[..., 0])
    yield "greys-text.pgm", netpbm(2, 200, rgb[:9, :7, 0] // 2, b"# a comment, to be passed over\r")
    yield "greys-12-bit.pgm", netpbm(5, 4095, w >> 4)
    yield "greys-16-bit.pgm", netpbm(5, 65535, w)
    yield "greys-12-bit-text.pgm", netpbm(2, 4095, w[:9, :7] >> 4)
    yield "bits.pbm", save(picture(43, 31, "1"), "PPM")
    bits = np.asarray(picture(19, 11, "1"))
    yield "bits-text.pbm", b"P1\n19 11\n" + b"\n".join(b"".join(b"01"[v:v + 1] for v in row) for row in 1 - bits.astype(int))


def expected(data):
    with Image.open(io.BytesIO(data)) as im:
        if im.mode.startswith("I"):
            a = np.asarray(im)
            if im.format == "PPM":  # whose header says how large they can be; Pillow scales them to 16 bits
                return "netpbm", np.rint(a / 257).astype(np.uint8)[..., None].repeat(3, -1)
            return im.format, grey(a)
        if im.format == "PPM":
            return "netpbm", np.asarray(im.convert("RGB"))
        return im.format, np.asarray(ImageOps.exif_transpose(im).convert("RGB"))


def main():
    for old in os.listdir(here):
        if old.rsplit(".")[-1] in {"jpg", "jfif", "png", "gif", "bmp", "webp", "tif", "ppm", "pgm", "pbm"}:
            os.remove(os.path.join(here, old))
    entries, raw = [], b""
    for name, data in itertools.chain(pictures(), newer()):
        format, rgb = expected(bytes(data))
        with open(os.path.join(here, name), "wb") as f:
            f.write(data)
        pixels = rgb.tobytes()
        entry = {"file": name, "format": format.lower(), "width": rgb.shape[1], "height": rgb.shape[0],
                 "sha256": hashlib.sha256(pixels).hexdigest()}
        if format == "JPEG" or name.startswith(("jpeg-", "lossy", "animated.webp", "exif-3.webp")):
            if len(pixels) <= 50000:
                entry["rgb"] = [len(raw), len(raw) + len(pixels)]
                raw += pixels
        entries.append(entry)
    with open(os.path.join(here, "pictures.rgb.gz"), "wb") as f:
        f.write(gzip.compress(raw, 9, mtime=0))
    versions = {"pillow": pillow, "numpy": np.__version__, **{n: features.version(n) for n in
                ["libjpeg_turbo", "webp", "libtiff", "zlib"]}}
    with open(os.path.join(here, "pictures.json"), "w") as f:
        f.write('{"versions": %s,\n "pictures": [\n  %s\n]}\n' % (
            json.dumps(versions), ",\n  ".join(json.dumps(e) for e in entries)))


main()
