"""Templates with one thing wrong in images."""

from dataclasses import replace

from passmill.domain.apple import ImageInfo
from passmill.domain.templates import (
    ImageRef,
    ImageRole,
)
from tests.support import templates
from tests.support.lint_changes import (
    HUGE,
    C,
    Case,
    E,
    W,
    card,
    plain,
    resized,
)

IMAGE_CASES = [
    Case(
        severity=E,
        code=C.IMAGE_MISSING,
        path="images",
        content=plain(images=templates.images(ImageRole.THUMBNAIL)),
    ),
    Case(severity=W, code=C.IMAGE_MISSING, path="images", content=plain(title="")),
    Case(
        severity=W,
        code=C.IMAGE_SCALE_MISSING,
        path="images",
        content=plain(images=templates.images(ImageRole.ICON)[:2]),
    ),
    Case(
        severity=E,
        code=C.IMAGE_DUPLICATE,
        path="images[3]",
        content=plain(
            images=(*templates.images(ImageRole.ICON), templates.images(ImageRole.ICON)[0])
        ),
    ),
    Case(
        severity=E,
        code=C.IMAGE_INVALID,
        path="images[3].scale",
        content=plain(
            images=(
                *templates.images(ImageRole.ICON),
                ImageRef(role=ImageRole.ICON, scale=4, asset_id="icon-4"),
            )
        ),
    ),
    Case(
        severity=E,
        code=C.IMAGE_ASSET_UNKNOWN,
        path="images[0].asset_id",
        content=plain(),
        images={
            k: v for k, v in templates.infos(templates.assets(plain())).items() if k != "icon-1"
        },
    ),
    Case(
        severity=W,
        code=C.IMAGE_SIZE,
        path="images[0]",
        content=plain(),
        images=resized(plain(), "icon-1", ImageInfo(width=60, height=60, size_bytes=100)),
    ),
    Case(
        severity=W,
        code=C.IMAGE_SIZE,
        path="images[4]",
        content=plain(),
        images=resized(plain(), "thumbnail-2", ImageInfo(width=180, height=90, size_bytes=100)),
    ),
    Case(
        severity=W,
        code=C.IMAGE_SIZE,
        path="images[6]",
        content=card(),
        images=resized(card(), "strip-1-en", ImageInfo(width=320, height=123, size_bytes=100)),
    ),
    Case(
        severity=E,
        code=C.IMAGE_TOO_LARGE,
        path="images[0]",
        content=plain(),
        images=resized(plain(), "icon-1", HUGE),
    ),
    Case(
        severity=W,
        code=C.IMAGE_UNUSED,
        path="images",
        content=plain(images=templates.images(ImageRole.ICON, ImageRole.FOOTER)),
    ),
    Case(
        severity=W,
        code=C.IMAGE_CONFLICT,
        path="images",
        content=replace(
            templates.event_ticket(),
            images=templates.images(ImageRole.ICON, ImageRole.STRIP, ImageRole.THUMBNAIL),
        ),
    ),
    Case(
        severity=E,
        code=C.IMAGE_LOCALES,
        path="images",
        content=plain(
            images=templates.images(ImageRole.ICON, ImageRole.THUMBNAIL)
            + templates.images(ImageRole.THUMBNAIL, locale="fr")
        ),
    ),
    Case(
        severity=E,
        code=C.IMAGE_LOCALES,
        path="images",
        content=plain(
            images=templates.images(ImageRole.ICON)
            + templates.images(ImageRole.THUMBNAIL, locale="fr")
            + templates.images(ImageRole.THUMBNAIL, locale="de")[1:]
        ),
    ),
    Case(
        severity=W,
        code=C.TOTAL_SIZE,
        path="images",
        content=plain(),
        images=resized(plain(), "icon-1", ImageInfo(width=38, height=38, size_bytes=2 << 20)),
    ),
]
