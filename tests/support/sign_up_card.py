"""A store card that asks for a reward sign-up."""

from dataclasses import replace

from passmill.domain.templates import (
    ImageRole,
    Personalization,
    PersonalizationField,
    TemplateContent,
    Translation,
)
from tests.support import templates

DESCRIPTION = 'Join the {{coffee}} club of "Bohne & Blatt"'
FORM = Personalization(
    required_fields=(
        PersonalizationField.NAME,
        PersonalizationField.EMAIL_ADDRESS,
        PersonalizationField.PHONE_NUMBER,
    ),
    description=DESCRIPTION,
    terms_and_conditions="Read <a href='https://bohne.example/terms'>the terms</a>.\nÄlter als 16.",
)


def sign_up_card(form: Personalization = FORM) -> TemplateContent:
    """The store card of the samples, with a form, its logo and its translation."""
    card = templates.store_card()
    translations = tuple(
        Translation(locale=each.locale, strings={**each.strings, form.description: text})
        for each, text in zip(card.translations, ("Werde Mitglied", "Become a member"), strict=True)
    )
    return replace(
        card,
        images=(*card.images, *templates.images(ImageRole.PERSONALIZATION_LOGO)),
        translations=translations if form.description == DESCRIPTION else card.translations,
        apple=replace(card.apple, personalization=form),
    )
