"""Rules for images.

Sizes are in points from Apple's Human Interface Guidelines and Wallet Developer Guide; pixels are
points times density.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from passmill.domain.apple.lint.report import Report
from passmill.domain.apple.lint.texts import LOCALE
from passmill.domain.apple.static_files import image_path
from passmill.domain.templates.content import AppleStyleScheme, ImageRef, ImageRole, PassStyle
from passmill.domain.templates.findings import FindingCode

MAX_IMAGE_BYTES: Final = 2 << 20
MAX_IMAGE_PIXELS: Final = 4_000_000

_SCALES: Final = (1, 2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """What an image's header and length tell."""

    width: int
    height: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    """Least and greatest width and height in points, and least and greatest width over height."""

    least: tuple[int, int] = (1, 1)
    greatest: tuple[int, int] = (10_000, 10_000)
    aspect: tuple[Fraction, Fraction] | None = None


_SIZES: Final = {
    ImageRole.ICON: _Size(least=(29, 29), greatest=(38, 38), aspect=(Fraction(1), Fraction(1))),
    ImageRole.LOGO: _Size(greatest=(160, 50)),
    ImageRole.THUMBNAIL: _Size(greatest=(90, 90), aspect=(Fraction(2, 3), Fraction(3, 2))),
    # Two of Apple's sources give 180x220 and 345x505; larger art serves both.
    ImageRole.BACKGROUND: _Size(least=(180, 220)),
    ImageRole.FOOTER: _Size(greatest=(286, 15)),
    ImageRole.ARTWORK: _Size(least=(358, 448), greatest=(358, 448)),
    ImageRole.PRIMARY_LOGO: _Size(greatest=(126, 30)),
    ImageRole.SECONDARY_LOGO: _Size(greatest=(135, 12)),
    ImageRole.VENUE_MAP: _Size(),
    ImageRole.PERSONALIZATION_LOGO: _Size(greatest=(150, 40)),
}
_STRIPS: Final = {
    PassStyle.COUPON: _Size(least=(375, 123), greatest=(375, 144)),
    PassStyle.STORE_CARD: _Size(least=(375, 123), greatest=(375, 144)),
    PassStyle.EVENT_TICKET: _Size(least=(375, 84), greatest=(375, 98)),
}
_BASIC: Final = {ImageRole.ICON, ImageRole.LOGO}
_SHOWN: Final = {
    PassStyle.BOARDING_PASS: _BASIC | {ImageRole.FOOTER},
    PassStyle.COUPON: _BASIC | {ImageRole.STRIP},
    PassStyle.EVENT_TICKET: _BASIC | {ImageRole.STRIP, ImageRole.BACKGROUND, ImageRole.THUMBNAIL},
    PassStyle.GENERIC: _BASIC | {ImageRole.THUMBNAIL},
    PassStyle.STORE_CARD: _BASIC | {ImageRole.STRIP},
}
_SHOWN_BY_SCHEME: Final = {
    None: set[ImageRole](),
    AppleStyleScheme.POSTER_EVENT_TICKET: {
        ImageRole.ARTWORK,
        ImageRole.PRIMARY_LOGO,
        ImageRole.SECONDARY_LOGO,
        ImageRole.VENUE_MAP,
    },
    AppleStyleScheme.SEMANTIC_BOARDING_PASS: {ImageRole.PRIMARY_LOGO, ImageRole.SECONDARY_LOGO},
}


def check_images(report: Report, images: Mapping[str, ImageInfo]) -> None:
    """Which images there are, and each by itself."""
    refs = report.content.images
    _check_presence(report)
    duplicates = Counter((ref.role, ref.scale, ref.locale) for ref in refs)
    for index, ref in enumerate(refs):
        path = f"images[{index}]"
        if duplicates[ref.role, ref.scale, ref.locale] > 1:
            message = "another image has the same role, scale and locale; keep one"
            report.error(FindingCode.IMAGE_DUPLICATE, path, message)
        if ref.scale not in _SCALES:
            report.error(FindingCode.IMAGE_INVALID, f"{path}.scale", "must be 1, 2 or 3")
        if ref.locale and not LOCALE.fullmatch(ref.locale):
            message = "must be a language tag such as fr, pt-BR or zh-Hans"
            report.error(FindingCode.LOCALE_INVALID, f"{path}.locale", message)
        info = images.get(ref.asset_id)
        if info is None:
            message = f"no asset has the id {ref.asset_id!r:.80}; upload it first"
            report.error(FindingCode.IMAGE_ASSET_UNKNOWN, f"{path}.asset_id", message)
        else:
            _check_size(report, path, ref, info)
    _check_locales(report)


def _check_presence(report: Report) -> None:
    content = report.content
    scales: dict[ImageRole, set[int]] = defaultdict(set)
    for ref in content.images:
        scales[ref.role].add(ref.scale)
    if ImageRole.ICON not in scales:
        message = "every pass needs an icon of 38 by 38 points; add it at scales 1, 2 and 3"
        report.error(FindingCode.IMAGE_MISSING, "images", message)
    elif all(ref.locale for ref in content.images if ref.role is ImageRole.ICON):
        message = "a pass does not open without an icon that has no language; leave it out there"
        report.error(FindingCode.IMAGE_MISSING, "images", message)
    if ImageRole.LOGO not in scales and not content.title:
        message = "has neither a logo nor a title at its top; add one"
        report.warn(FindingCode.IMAGE_MISSING, "images", message)
    shown = _SHOWN[content.style] | _SHOWN_BY_SCHEME[content.apple.style_scheme]
    if content.apple.personalization is not None:
        shown = shown | {ImageRole.PERSONALIZATION_LOGO}
    for role in sorted(scales):
        name = role.value.replace("_", " ")
        if role not in shown:
            message = f"this style does not show a {name}; leave it out"
            report.warn(FindingCode.IMAGE_UNUSED, "images", message)
        elif missing := {2, 3} - scales[role]:
            listed = " and ".join(f"@{scale}x" for scale in sorted(missing))
            message = f"the {name} lacks {listed}; without it, it looks blurred on most devices"
            report.warn(FindingCode.IMAGE_SCALE_MISSING, "images", message)
    _check_hidden(report, set(scales))


def _check_hidden(report: Report, roles: set[ImageRole]) -> None:
    content = report.content
    hidden = [ImageRole.THUMBNAIL]
    if content.apple.style_scheme is not AppleStyleScheme.POSTER_EVENT_TICKET:
        hidden.append(ImageRole.BACKGROUND)
    if content.style is PassStyle.EVENT_TICKET and ImageRole.STRIP in roles:
        for role in hidden:
            if role in roles:
                message = f"a strip hides the {role.value} of an event ticket; keep one of them"
                report.warn(FindingCode.IMAGE_CONFLICT, "images", message)


def _check_size(report: Report, path: str, ref: ImageRef, info: ImageInfo) -> None:
    if info.size_bytes > MAX_IMAGE_BYTES or info.width * info.height > MAX_IMAGE_PIXELS:
        message = (
            f"has {info.width} by {info.height} pixels in {info.size_bytes} bytes; "
            f"{MAX_IMAGE_PIXELS} pixels and {MAX_IMAGE_BYTES} bytes are allowed"
        )
        report.error(FindingCode.IMAGE_TOO_LARGE, path, message)
        return
    is_strip = ref.role is ImageRole.STRIP
    size = _STRIPS.get(report.content.style) if is_strip else _SIZES[ref.role]
    if size is None or ref.scale not in _SCALES:
        return
    name = f"{image_path(ref)} is {info.width} by {info.height} pixels"
    least = tuple(points * ref.scale for points in size.least)
    greatest = tuple(points * ref.scale for points in size.greatest)
    if info.width < least[0] or info.height < least[1]:
        message = f"{name}, smaller than {least[0]} by {least[1]}; it will look blurred"
        report.warn(FindingCode.IMAGE_SIZE, path, message)
    if info.width > greatest[0] or info.height > greatest[1]:
        message = (
            f"{name}, larger than {greatest[0]} by {greatest[1]}; it will be shrunk or cropped"
        )
        report.warn(FindingCode.IMAGE_SIZE, path, message)
    if size.aspect and not size.aspect[0] <= _aspect(info) <= size.aspect[1]:
        low, high = size.aspect
        wanted = "square" if low == high else f"between {_ratio(low)} and {_ratio(high)}"
        report.warn(FindingCode.IMAGE_SIZE, path, f"{name}; its shape must be {wanted}")


def _aspect(info: ImageInfo) -> Fraction:
    return Fraction(info.width, max(info.height, 1))


def _ratio(ratio: Fraction) -> str:
    return f"{ratio.numerator}:{ratio.denominator}"


def _check_locales(report: Report) -> None:
    scales: dict[ImageRole, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for ref in report.content.images:
        scales[ref.role][ref.locale].add(ref.scale)
    for role, by_locale in sorted(scales.items()):
        name = role.value.replace("_", " ")
        localised = {locale: found for locale, found in by_locale.items() if locale}
        if localised and "" in by_locale:
            message = (
                f"the {name} without language hides those for {', '.join(sorted(localised))}; "
                "give it a language or leave them out"
            )
            report.error(FindingCode.IMAGE_LOCALES, "images", message)
        if len({frozenset(found) for found in localised.values()}) > 1:
            message = f"the {name} has different scales in different languages; complete them"
            report.error(FindingCode.IMAGE_LOCALES, "images", message)
