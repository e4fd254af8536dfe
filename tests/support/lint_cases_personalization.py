"""Templates with one thing wrong in their reward sign-up."""

from dataclasses import replace

from passmill.domain.templates import FindingCode, ImageRole, PersonalizationField
from tests.support import templates
from tests.support.lint_changes import C, Case, E, W, card, hints, plain
from tests.support.sign_up_card import FORM, sign_up_card

_PATH = "apple.personalization"
_LOGO = templates.images(ImageRole.PERSONALIZATION_LOGO)


def _broken(path: str, **changes: object) -> Case:
    form = replace(FORM, **changes)  # type: ignore[arg-type]
    code = FindingCode.PERSONALIZATION
    return Case(severity=E, code=code, path=f"{_PATH}.{path}", content=sign_up_card(form))


PERSONALIZATION_CASES = [
    Case(
        severity=E,
        code=C.PERSONALIZATION,
        path=_PATH,
        content=replace(hints(plain(), personalization=FORM), images=(*plain().images, *_LOGO)),
    ),
    Case(
        severity=E,
        code=C.PERSONALIZATION,
        path=_PATH,
        content=replace(sign_up_card(), nfc=None),
    ),
    Case(
        severity=E,
        code=C.PERSONALIZATION,
        path="images",
        content=replace(sign_up_card(), images=card().images),
    ),
    _broken("required_fields", required_fields=()),
    _broken("required_fields", required_fields=(PersonalizationField.NAME,) * 2),
    _broken("description", description=" "),
    _broken("description", description="Join, {holder.name}"),
    _broken("terms_and_conditions", terms_and_conditions="{tier}"),
    Case(
        severity=E,
        code=C.PLACEHOLDER_INVALID,
        path=f"{_PATH}.terms_and_conditions",
        content=sign_up_card(replace(FORM, terms_and_conditions="a { b")),
    ),
    Case(
        severity=W,
        code=C.IMAGE_UNUSED,
        path="images",
        content=card(images=(*card().images, *_LOGO)),
    ),
]
