"""Is nothing left of who took a photo where, and does a guarantee wait for the right ones?"""

from __future__ import annotations

import io
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from PIL import ExifTags, Image, PngImagePlugin

from autarco_portal import photos
from autarco_portal.photos import Photo, PhotoError, PhotoFiles, PhotoKind, Verdict

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
CANARY = "Kanarie van Dijk"


def halves(width: int = 64, height: int = 32) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), (250, 10, 10))
    image.paste((10, 10, 250), (width // 2, 0, width, height))
    return image


def from_phone(orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = CANARY
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.DateTime] = "2026:05:01 12:34:56"
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    gps[ExifTags.GPS.GPSLatitudeRef] = "N"
    gps[ExifTags.GPS.GPSLatitude] = (52.0, 5.0, 12.34)
    buffer = io.BytesIO()
    halves().save(buffer, "JPEG", exif=exif, comment=CANARY.encode(), quality=95)
    return buffer.getvalue()


def test_a_phones_photo_keeps_its_pixels_only() -> None:
    data = from_phone()
    assert CANARY.encode() in data
    assert b"Exif" in data

    picture = photos.stripped(data)

    kept = Image.open(io.BytesIO(picture.data))
    assert CANARY.encode() not in picture.data
    assert b"Exif" not in picture.data
    assert not kept.getexif()
    assert "comment" not in kept.info
    assert (picture.width, picture.height) == kept.size == (64, 32)
    red, _, blue = kept.getpixel((8, 16))  # type: ignore[misc]
    assert red > 200 > 50 > blue


def test_a_photo_taken_upright_stays_upright() -> None:
    picture = photos.stripped(from_phone(orientation=6))

    kept = Image.open(io.BytesIO(picture.data))
    assert kept.size == (32, 64)
    red, _, blue = kept.getpixel((16, 8))  # type: ignore[misc]
    assert red > 200 > 50 > blue


def test_texts_in_a_png_are_gone() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", CANARY)
    info.add_itxt("XML:com.adobe.xmp", f"<x>{CANARY}</x>", zip=True)
    buffer = io.BytesIO()
    halves().save(buffer, "PNG", pnginfo=info)

    picture = photos.stripped(buffer.getvalue())

    assert picture.media_type == "image/png"
    kept = Image.open(io.BytesIO(picture.data))
    kept.load()
    assert kept.info == {}
    assert kept.tobytes() == halves().tobytes()


def test_what_is_no_photo_is_refused() -> None:
    whole = from_phone()
    for wrong in (b"", b"hello", whole[: len(whole) // 2], b"GIF89a" + bytes(40)):
        with pytest.raises(PhotoError, match="no JPEG, PNG or WebP"):
            photos.stripped(wrong)
    with pytest.raises(PhotoError, match="20 MB at most"):
        photos.stripped(bytes(photos.BYTES_MAX + 1))


def test_a_small_file_of_endless_pixels_is_refused_unread() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body).to_bytes(4)
        return len(body).to_bytes(4) + kind + body + crc

    for side in (9_000, 100_000):
        header = side.to_bytes(4) + side.to_bytes(4) + bytes([8, 2, 0, 0, 0])
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x")
        with pytest.raises(PhotoError):
            photos.stripped(bomb)


def photo(kind: PhotoKind, verdict: Verdict | None = None) -> Photo:
    picture = photos.stripped(from_phone())
    return Photo(
        sha256=picture.sha256,
        site="abcd1234",
        kind=kind,
        media_type=picture.media_type,
        bytes=len(picture.data),
        width=picture.width,
        height=picture.height,
        uploaded_by="p1",
        uploaded_at=NOW,
        verdict=verdict,
    )


def test_a_guarantee_waits_for_an_approved_photo_of_each_kind() -> None:
    yes = Verdict(is_approved=True, reviewed_by="p2", reviewed_at=NOW)
    no = Verdict(is_approved=False, reviewed_by="p2", reviewed_at=NOW, reason="unreadable")
    approved = [photo(kind, yes) for kind in photos.REQUIRED]

    assert photos.missing(approved) == ()
    assert photos.missing([]) == photos.REQUIRED
    assert photos.missing([photo(PhotoKind.ROOF), *approved[1:]]) == (PhotoKind.ROOF,)
    assert photos.missing([photo(PhotoKind.ROOF, no), *approved[1:]]) == (PhotoKind.ROOF,)


@pytest.mark.parametrize("is_approved", [True, False])
def test_a_verdict_is_clear(is_approved: bool) -> None:
    with pytest.raises(PhotoError, match="refused with a reason"):
        Verdict(
            is_approved=is_approved,
            reviewed_by="p2",
            reviewed_at=NOW,
            reason="unreadable" if is_approved else "",
        )


def test_files_come_back_as_they_were_kept(tmp_path: Path) -> None:
    files = PhotoFiles(tmp_path / "photos")
    picture = photos.stripped(from_phone())
    kept = photo(PhotoKind.ROOF)

    files.save(picture)
    files.save(picture)
    assert files.load(kept) == picture.data
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert file.name == kept.file_name
    assert file.stat().st_mode & 0o077 == 0

    file.write_bytes(b"other")
    with pytest.raises(PhotoError, match="others than were kept"):
        files.load(kept)
    assert files.remove(kept)
    assert not files.remove(kept)
    with pytest.raises(PhotoError, match="No such file"):
        files.load(kept)
