"""What a claim page shows: for whom, in which language, and by which words."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Final

import segno
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from passmill.domain.claim_forms import (
    NEEDED,
    NO_ADDRESS,
    NO_NUMBER,
    NO_NUMBER_WITH_CODE,
    ClaimField,
    FieldKind,
)
from passmill.domain.claims import Recovery
from passmill.domain.templates import Colors
from passmill.usecases.claim_branding import Branding

_RIGHT_TO_LEFT: Final = frozenset({"ar", "fa", "he", "ur"})
_DEFAULT_LANGUAGE: Final = "en"
_READABLE: Final = 4.5
_WALLETS: Final = frozenset({"apple", "google"})
_APPLE: Final = re.compile(r"iPhone|iPod")
_PHONE: Final = re.compile(r"iPhone|iPod|Android|Mobile")
_NO_PHONE: Final = re.compile(r"iPad")  # it has no Wallet, so it is told what a desktop is
# Browsers within apps, which cannot add passes: those that say which app it is, and any that does
# not say that it is Safari, as each browser on an iPhone does that is an app of its own.
_SAFARI: Final = re.compile(r"\bSafari/")
_IN_APP: Final = re.compile(
    r"\b(?:Instagram|Barcelona|FBA[NV]|FB_IAB|MicroMessenger|Line/|TikTok|musical_ly|trill|Bytedance"
    r"|Snapchat|Twitter|LinkedInApp|Pinterest|KAKAOTALK|Weibo|QQ/)"
)
_PROBLEMS: Final[Mapping[str, str]] = {
    NEEDED: "error_needed",
    NO_NUMBER: "error_number",
    NO_NUMBER_WITH_CODE: "error_number_code",
    NO_ADDRESS: "error_address",
}
# How browsers fill a field in, and which keyboard they show.
_INPUTS: Final[Mapping[FieldKind, tuple[str, str, str]]] = {
    FieldKind.NAME: ("text", "name", ""),
    FieldKind.PHONE: ("tel", "tel", "ltr"),
    FieldKind.EMAIL: ("email", "email", "ltr"),
    FieldKind.SLOT: ("text", "", "auto"),
    FieldKind.CONSENT: ("checkbox", "", ""),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Whom a page is for. `language`: one there are texts in. `is_in_app`: it is shown within an
    app, on an iPhone."""

    language: str
    is_apple: bool
    is_phone: bool
    is_in_app: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """One field of the form. `problem`: what is wrong with its value, '' for nothing."""

    id: str
    name: str
    label: str
    value: str = field(repr=False)
    problem: str
    is_required: bool
    is_consent: bool
    hint: str
    input_type: str
    autocomplete: str
    direction: str

    def described_by(self) -> Markup:
        """The attributes that tie hint and problem to the field."""
        ids = [f"{self.id}-hint"] if self.hint else []
        ids += [f"{self.id}-problem"] if self.problem else []
        text = Markup(' aria-describedby="{}"').format(" ".join(ids)) if ids else Markup()
        return text + (Markup(' aria-invalid="true"') if self.problem else Markup())


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimPage:
    """One page. `state`: of a claim, or BUSY, RECOVERED, UNKNOWN. `heading`: names two texts, that
    and what follows it. `form`: what is asked for, `given` with what was, `problems` by path.
    `can_ask`: the pass can be asked for again. `needs_cookie`: the browser was given a key and has
    not kept it. `url`: where the code leads, '' for no code."""

    state: str
    heading: str
    token: str = field(default="", repr=False)
    look: Branding = field(default_factory=Branding)
    form: Sequence[ClaimField] = ()
    given: Mapping[str, str] = field(default_factory=dict, repr=False)
    problems: Mapping[str, str] = field(default_factory=dict)
    default_region: str = ""
    needs_cookie: bool = False
    recovery: Recovery | None = None
    can_ask: bool = False
    reference_id: str = ""
    url: str = field(default="", repr=False)


class ClaimView:
    """Renders pages. Reads its files when it is made, and none after."""

    def __init__(self) -> None:
        folder = resources.files("passmill.edge") / "web"
        self._texts: Mapping[str, Mapping[str, str]] = {
            file.name.removesuffix(".json"): json.loads(file.read_text(encoding="utf-8"))
            for file in (folder / "texts").iterdir()
            if file.name.endswith(".json")
        }
        self.style = (folder / "claim.css").read_bytes()
        self.script = (folder / "claim.js").read_bytes()
        environment = Environment(
            loader=PackageLoader("passmill.edge", "web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._template = environment.get_template("claim.html")

    @property
    def languages(self) -> Sequence[str]:
        """Those there are texts in."""
        return sorted(self._texts)

    def visitor(self, *, user_agent: str, accepted: str, wanted: str, wallet: str) -> Visitor:
        """Whom a page is for. `accepted`: Accept-Language (RFC 9110, 12.5.4); `wanted`: a language
        asked for, '' for none; `wallet`: "apple" or "google" where that was asked for. What a
        browser says of itself is a hint: it changes the order of things, and hides nothing."""
        is_told = wallet in _WALLETS
        is_apple = bool(_APPLE.search(user_agent))
        is_phone = bool(_PHONE.search(user_agent)) and not _NO_PHONE.search(user_agent)
        return Visitor(
            language=self.language(f"{wanted},{accepted}" if wanted else accepted),
            is_apple=wallet == "apple" if is_told else is_apple,
            is_phone=is_told or is_phone,
            is_in_app=is_apple and _is_in_app(user_agent),
        )

    def render(self, page: ClaimPage, visitor: Visitor) -> tuple[str, str]:
        """The page's HTML, and the nonce of its style."""
        texts = self._texts[visitor.language]
        look = _translated(page.look, visitor.language)
        nonce = secrets.token_urlsafe(16)
        heading, lead = texts[page.heading], texts.get(_lead_of(page), "")
        if lead and page.recovery is not None and _lead_of(page) == "recovered_phone":
            lead = f"{lead} {page.recovery.hint}."
        html = self._template.render(
            t=texts,
            language=visitor.language,
            direction="rtl" if visitor.language in _RIGHT_TO_LEFT else "ltr",
            nonce=nonce,
            state=page.state,
            heading=look.title if page.state == "OPEN" and _says_more(look) else heading,
            lead=lead,
            look=look,
            brand=_readable(look.colors),
            has_logo=bool(look.logo_asset_id),
            token=page.token,
            needs_cookie=page.needs_cookie,
            given=page.given,
            fields=[_form_field(each, page, texts) for each in page.form],
            problems=page.problems,
            recovery=page.recovery,
            can_ask=page.can_ask,
            reference_id=page.reference_id,
            whom_to_ask=_whom_to_ask(page, look, texts),
            wallets=_wallets(visitor),
            is_apple=visitor.is_apple,
            is_in_app=visitor.is_in_app,
            address=page.url,
            is_desktop=bool(page.url) and not visitor.is_phone,
            code=_code(page.url) if page.url and not visitor.is_phone else "",
        )
        return html, nonce

    def language(self, accepted: str) -> str:
        """The best of the languages there are texts in (`accepted`: as of `visitor`)."""
        weighed = []
        for index, part in enumerate(accepted[:500].split(",")):
            tag, _, rest = part.strip().partition(";")
            match = re.fullmatch(r"\s*q=([01](?:\.[0-9]{0,3})?)\s*", rest) if rest else None
            weight = float(match[1]) if match else 1.0
            weighed.append((-weight, index, tag.partition("-")[0].lower()))
        for weight, _, language in sorted(weighed):
            if weight and language in self._texts:
                return language
        return _DEFAULT_LANGUAGE


def headers_of(language: str, nonce: str) -> dict[str, str]:
    """What every page has: nothing from elsewhere, and no place in a search or a frame."""
    policy = (
        f"default-src 'none'; style-src 'self' 'nonce-{nonce}'; script-src 'self';"
        " img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return {
        "content-security-policy": policy,
        "content-language": language,
        "x-robots-tag": "noindex",
    }


def _is_in_app(user_agent: str) -> bool:
    return not _SAFARI.search(user_agent) or bool(_IN_APP.search(user_agent))


def _wallets(visitor: Visitor) -> Sequence[str]:
    """The names of the buttons that give the pass, the one that fits best first. There is one file
    for all: Passmill issues no passes of Google's own yet."""
    if visitor.is_apple:
        return ["add_apple"]
    if visitor.is_phone:
        return ["save_here", "add_apple"]
    return ["add_apple", "save_file"]


def _lead_of(page: ClaimPage) -> str:
    if page.heading == "recovered_title":
        if page.recovery is None:
            return "recovered_any"
        return "recovered_phone" if page.recovery.hint else "recovered_email"
    return "get_pass_lead" if page.state == "OPEN" else page.heading.replace("_title", "_lead")


def _whom_to_ask(page: ClaimPage, look: Branding, texts: Mapping[str, str]) -> str:
    """What to do where the page itself can do nothing more, '' where it can."""
    if page.state not in ("CLAIMED_ELSEWHERE", "USED_UP") or page.can_ask:
        return ""
    if not look.organization_name:
        return texts["ask_sender"]
    return texts["ask_operator"].replace("{organization}", look.organization_name)


def _translated(look: Branding, language: str) -> Branding:
    """The template's own words in this language, where it has them."""
    strings = next(
        (words for locale, words in look.translations.items() if locale.startswith(language)), {}
    )
    return Branding(
        organization_name=strings.get(look.organization_name, look.organization_name),
        title=strings.get(look.title, look.title),
        description=strings.get(look.description, look.description),
        colors=look.colors,
        logo_asset_id=look.logo_asset_id,
    )


def _says_more(look: Branding) -> bool:
    """Whether the title is another text than who issues the pass, which stands above it."""
    return bool(look.title) and look.title != look.organization_name


def _readable(colors: Colors) -> tuple[str, str] | None:
    """The brand's background, and what texts on it have: the brand's colour where it can be read
    there (WCAG 2.2, 1.4.3), else black or white. None when the template says nothing."""
    if not colors.background:
        return None
    wanted = [colors.foreground] if colors.foreground else []
    on_brand = next((c for c in wanted if _contrast(c, colors.background) >= _READABLE), None)
    best = max(("#000000", "#ffffff"), key=lambda color: _contrast(color, colors.background))
    return colors.background, on_brand or best


def _contrast(one: str, other: str) -> float:
    """From 1 to 21 (WCAG 2.2, contrast ratio), of colours as #rrggbb."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: str) -> float:
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def input_name(asked: ClaimField) -> str:
    """The name of a field's input: `phone`, `slot.drink`, `consent.newsletter`."""
    return f"{asked.kind.value}.{asked.name}" if asked.name else asked.kind.value


def _form_field(asked: ClaimField, page: ClaimPage, texts: Mapping[str, str]) -> FormField:
    name = input_name(asked)
    input_type, autocomplete, direction = _INPUTS[asked.kind]
    problem = page.problems.get(asked.path, "")
    is_consent = asked.kind is FieldKind.CONSENT
    if problem:
        word = _PROBLEMS.get(problem, "error_value")
        problem = texts["error_consent" if is_consent else word]
    needs_code = asked.kind is FieldKind.PHONE and not page.default_region
    return FormField(
        id=name.replace(".", "-"),
        name=name,
        label=asked.label or texts[asked.kind.value],
        value=page.given.get(name, ""),
        problem=problem,
        is_required=asked.is_required,
        is_consent=is_consent,
        hint=texts["phone_hint"] if needs_code else "",
        input_type=input_type,
        autocomplete=autocomplete,
        direction=direction,
    )


def _code(url: str) -> Markup:
    """The address as a QR code (ISO/IEC 18004), an SVG without size."""
    drawn: str = segno.make_qr(url, error="m").svg_inline(omitsize=True, border=2)
    return Markup(drawn)  # noqa: S704 - made of nothing but paths
