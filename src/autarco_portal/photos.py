"""Which photos prove a guarantee, and what of a photo is kept?

A guarantee stands on photos: of the roof, of labels, of connections. A phone writes into each where
and when it was taken and whose it is; none of that is kept (`stripped`). What is kept is named by
its hash. Rules and the one step with pixels are here; which photos there are is known to the store.

Source: reference document on privacy, section 3 (policy 2.3).
"""

from __future__ import annotations

import hashlib
import io
import warnings
from datetime import datetime  # noqa: TC003 - msgspec looks at it when it decodes
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
from PIL import Image, ImageOps

from autarco_ingest import durable, paths

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BYTES_MAX = 20 * 1024 * 1024
"""Phones make 3 to 12 MB."""
PIXELS_MAX = 64_000_000
"""Phones have 12 to 50 million; a file of a few kB can claim billions and fill the memory."""
_JPEG_QUALITY = 90

MediaType: TypeAlias = Literal["image/jpeg", "image/png"]
_SUFFIX: dict[MediaType, str] = {"image/jpeg": ".jpg", "image/png": ".png"}


class PhotoError(ValueError):
    """A photo cannot be kept, or does not prove what it should; the message is one sentence."""


class PhotoKind(StrEnum):
    """What a photo shows."""

    ROOF = "roof"
    """All modules, so that they can be counted."""
    MODULE_LABEL = "module_label"
    INVERTER = "inverter"
    """Where it hangs, with room around it."""
    INVERTER_LABEL = "inverter_label"
    """With the serial number."""
    METER_CUPBOARD = "meter_cupboard"
    OTHER = "other"


REQUIRED = tuple(kind for kind in PhotoKind if kind is not PhotoKind.OTHER)
"""Of each at least one has to be approved before a guarantee starts."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a reviewer says of a photo."""

    is_approved: bool
    reviewed_by: str
    """A person's identifier."""
    reviewed_at: datetime
    reason: Literal["", "unreadable", "wrong_subject", "wrong_site", "shows_people"] = ""

    def __post_init__(self) -> None:
        """Raises PhotoError for a refusal without a reason."""
        if self.is_approved == bool(self.reason):
            raise PhotoError("a photo is approved, or refused with a reason")


class Photo(msgspec.Struct, frozen=True, kw_only=True):
    """A photo of a site, as it is kept."""

    sha256: str
    site: str
    """The site's public key."""
    kind: PhotoKind
    media_type: MediaType
    bytes: int
    width: int
    height: int
    uploaded_by: str
    """A person's identifier."""
    uploaded_at: datetime
    verdict: Verdict | None = None

    @property
    def file_name(self) -> str:
        """How the file is called."""
        return f"{self.sha256}{_SUFFIX[self.media_type]}"


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """Pixels in a file, without a word about who took them where."""

    data: bytes
    sha256: str
    media_type: MediaType
    width: int
    height: int


def stripped(data: bytes) -> Picture:
    """Returns a photo with its pixels upright and nothing else.

    Everything is left behind: EXIF with place and camera, comments, previews, colour profiles.
    A JPEG is compressed anew, anything else becomes PNG. Raises PhotoError for what is no photo,
    is damaged, or too large.
    """
    if len(data) > BYTES_MAX:
        raise PhotoError(f"a photo has {BYTES_MAX // 1024**2} MB at most, this one has more")
    try:
        with warnings.catch_warnings():
            # Our own limit decides, and it is an error.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP"))
        if opened.width * opened.height > PIXELS_MAX:
            raise PhotoError(f"a photo has {PIXELS_MAX // 1_000_000} million pixels at most")
        is_jpeg = opened.format == "JPEG"
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    except PhotoError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PhotoError("that is no JPEG, PNG or WebP, or it is damaged") from error
    clean = Image.frombytes("RGB", upright.size, upright.tobytes())
    buffer = io.BytesIO()
    if is_jpeg:
        clean.save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    else:
        clean.save(buffer, "PNG", optimize=True)
    kept = buffer.getvalue()
    return Picture(
        data=kept,
        sha256=hashlib.sha256(kept).hexdigest(),
        media_type="image/jpeg" if is_jpeg else "image/png",
        width=clean.width,
        height=clean.height,
    )


def missing(photos: Iterable[Photo]) -> tuple[PhotoKind, ...]:
    """Returns of what there is no approved photo yet: a guarantee waits for it."""
    approved = {photo.kind for photo in photos if photo.verdict and photo.verdict.is_approved}
    return tuple(kind for kind in REQUIRED if kind not in approved)


class PhotoFiles:
    """The files themselves, in one directory, named by their hash."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def save(self, picture: Picture) -> None:
        """Keeps a picture; when this returns, it is on disk. The same one twice is one file."""
        path = self._path(picture.sha256, picture.media_type)
        if path.exists():
            return
        durable.make_directory(path.parent)
        paths.write(path, picture.data, mode=0o600)

    def load(self, photo: Photo) -> bytes:
        """Returns the bytes of a photo; raises PhotoError if they are gone or not the same."""
        try:
            data = self._path(photo.sha256, photo.media_type).read_bytes()
        except OSError as error:
            raise PhotoError(f"photo {photo.sha256}: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != photo.sha256:
            raise PhotoError(f"photo {photo.sha256}: its bytes are others than were kept")
        return data

    def remove(self, photo: Photo) -> bool:
        """Deletes a photo's file; tells whether there was one."""
        path = self._path(photo.sha256, photo.media_type)
        if not path.exists():
            return False
        path.unlink()
        durable.sync(path.parent)
        return True

    def _path(self, sha256: str, media_type: MediaType) -> Path:
        return self._root / sha256[:2] / f"{sha256}{_SUFFIX[media_type]}"
