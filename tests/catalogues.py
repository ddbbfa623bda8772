"""The translations, kept in step with the source: `python -m tests.catalogues` after a text was changed.

It collects the texts of the package, keeps what is translated, marks what is new with an empty translation, drops
what is gone, and compiles. GNU gettext is not needed.
"""

import io
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel import Locale
from babel.messages import Catalog
from babel.messages.extract import extract_python
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

import django_gatewaypay

__all__ = ["LANGUAGES", "collect", "compiled", "read", "update"]

PACKAGE = Path(django_gatewaypay.__file__).parent
#: Folder names, as Django wants them.
LANGUAGES = ("ar", "de", "en", "es", "fr", "hi", "ja", "pt_BR", "zh_Hans")
#: No dates: two runs over the same source write the same file.
UNDATED = datetime(2026, 1, 1, tzinfo=UTC)
KEYWORDS = {
    "_": None, "gettext": None, "gettext_lazy": None, "gettext_noop": None, "ngettext": (1, 2),
    "ngettext_lazy": (1, 2), "pgettext": ((1, "c"), 2), "pgettext_lazy": ((1, "c"), 2),
}  # fmt: skip


def collect() -> Catalog:
    """Every text of the package, with the files that it is in."""
    found = Catalog(project="django-gatewaypay", charset="utf-8")
    for path in sorted(PACKAGE.rglob("*")):
        if path.suffix in {".py", ".html", ".txt"} and path.relative_to(PACKAGE).parts[0] != "scaffold":
            for text, context in _texts(path):
                found.add(text, context=context, locations=[(path.relative_to(PACKAGE).as_posix(), None)])
    return found


def _texts(path: Path) -> Iterator[tuple[str | tuple[str, ...], str | None]]:
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        # What is no text comes out as rows of X; their indentation is not Python's.
        source = "\n".join(line.lstrip() for line in templatize(source).splitlines())
    for _, function, words, _ in extract_python(io.BytesIO(source.encode()), list(KEYWORDS), [], {}):
        words = words if isinstance(words, tuple) else (words,)
        if function.startswith("pgettext"):
            yield words[1], words[0]
        else:
            yield (words[:2] if function.startswith("ngettext") else words[0]), None


def file_of(language: str) -> Path:
    return PACKAGE / "locale" / language / "LC_MESSAGES" / "django.po"


def empty(language: str) -> Catalog:
    return Catalog(
        locale=Locale.parse(language),
        header_comment="# The texts of django_gatewaypay, kept in step by `python -m tests.catalogues`.",
        project="django-gatewaypay",
        version="",
        msgid_bugs_address="",
        last_translator="",
        language_team=language,
        creation_date=UNDATED,
        revision_date=UNDATED,
        charset="utf-8",
        fuzzy=False,
    )


def read(language: str) -> Catalog:
    """The translations of one language, or an empty catalogue."""
    path = file_of(language)
    if not path.exists():
        return empty(language)
    with path.open("rb") as file:
        return read_po(file, locale=language)


def compiled(catalog: Catalog) -> bytes:
    """What Django reads."""
    out = io.BytesIO()
    write_mo(out, catalog)
    return out.getvalue()


def update(language: str) -> int:
    """Bring one language into step with the source; how many texts wait for a translation."""
    source, known = collect(), read(language)
    fresh = empty(language)
    for message in source:
        if message.id:
            said = known.get(message.id, message.context)
            string = said.string if said else (message.id if language == "en" else "")
            fresh.add(message.id, string, message.locations, context=message.context)
    path = file_of(language)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_po(file, fresh, width=110, sort_output=True, omit_header=False)
    path.with_suffix(".mo").write_bytes(compiled(fresh))
    return sum(not message.string for message in fresh if message.id)


if __name__ == "__main__":
    for language in LANGUAGES:
        sys.stdout.write(f"{language}: {update(language)} texts without a translation\n")
