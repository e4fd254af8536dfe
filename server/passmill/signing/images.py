"""What an uploaded image is, told from its header and its chunks: nothing is decoded."""

from __future__ import annotations

from passmill import _signer
from passmill.domain.assets import Asset, asset_id_of
from passmill.errors import AppError, FieldError, Reason


def describe_png(content: bytes) -> Asset:
    """The asset that these bytes make.

    AppError INVALID_ASSET naming `content` when they are no PNG (https://www.w3.org/TR/png-3/), not
    a whole one, or have more than four megapixels or 2 MiB.
    """
    try:
        width, height = _signer.inspect_png(content)
    except _signer.InvalidBundle as error:
        raise AppError(
            reason=Reason.INVALID_ASSET,
            message=str(error),
            fields=(FieldError(path="content", message=str(error)),),
        ) from None
    return Asset(asset_id=asset_id_of(content), width=width, height=height, size_bytes=len(content))
