"""The translations: complete, in step with the source, and usable."""

import gettext
import re
from typing import Any

import pytest
from django.test import Client

from tests.catalogues import LANGUAGES, collect, file_of, read
from tests.factories import make_transaction
from tests.views.conftest import bearer
from tests.views.test_pages import Page

PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd]|</?strong>")


def texts(message: Any) -> list[str]:
    """A text with its plural, or a translation with all of its plurals."""
    return [message] if isinstance(message, str) else list(message)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_catalogue_is_complete(language: str) -> None:
    """Every text of the package is translated, and nothing else; otherwise run `python -m tests.catalogues`."""
    wanted = {(message.id, message.context) for message in collect() if message.id}
    found = read(language)
    messages = [message for message in found if message.id]

    assert {(message.id, message.context) for message in messages} == wanted
    assert [message.id for message in messages if not all(texts(message.string)) or message.fuzzy] == []
    assert {len(texts(one.string)) for one in messages if one.pluralizable} <= {found.num_plurals}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_keeps_what_is_filled_in(language: str) -> None:
    """The same placeholders and tags in each; a plural may leave the number to its words."""
    wrong = []
    for message in read(language):
        source = set(PLACEHOLDER.findall(texts(message.id)[-1]))
        for told in texts(message.string) if message.id else []:
            kept = set(PLACEHOLDER.findall(told))
            if kept != source and not (message.pluralizable and kept < source):
                wrong.append((message.id, told))

    assert wrong == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_begins_and_ends_like_its_text(language: str) -> None:
    """No stray blanks, and a label stays a label."""
    pairs = [(texts(one.id)[-1], told) for one in read(language) if one.id for told in texts(one.string)]

    assert [told for text, told in pairs if text.strip() == text and told.strip() != told] == []
    assert [(text, told) for text, told in pairs if text.endswith(":") != told.endswith((":", "："))] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_compiled_is_what_is_written(language: str) -> None:
    """Django reads the .mo; otherwise run `python -m tests.catalogues`."""
    with file_of(language).with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)

    for message in read(language):
        if message.id and not message.pluralizable:
            found = compiled.pgettext(message.context, message.id) if message.context else compiled.gettext(message.id)
            assert found == message.string


@pytest.mark.django_db
@pytest.mark.parametrize("language", [code for code in LANGUAGES if code != "en"])
@pytest.mark.parametrize("state", ["pending", "processing", "held", "success", "failed", "canceled", "expired"])
def test_a_page_speaks_the_language_of_its_reader(language: str, state: str) -> None:
    """Heading, button and direction; the amount is written as this reader does."""
    row = make_transaction(state)
    code = language.replace("_", "-").lower()
    pages = [
        Client().get(f"/payments/pay/{row.pk}/", headers={**bearer(row), "Accept-Language": accepted}).text
        for accepted in (code, "en")
    ]
    headings = [re.findall(r'<h2 class="gwp-title">(.*?)</h2>', page) for page in pages]
    html = Page(pages[0]).find("html")[0]

    assert len(headings[0]) == 1
    assert headings[0] != headings[1]
    assert (html["lang"], html["dir"]) == (code, "rtl" if language == "ar" else "ltr")
