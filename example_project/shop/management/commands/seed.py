"""`manage.py seed`: fill the shelves and hire the staff; a second run changes nothing."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand

from example_project.settings import DATA, keep_secret

from ...models import Product

STAFF = "admin"
# slug, name, origin, price in the smallest unit, currency, description
PRODUCTS = (
    ("sardines", "Tinned sardines", "Lisbon", 590, "EUR",
     "Six small fish in good olive oil, packed by hand and wrapped in paper that you will want to keep."),
    ("wool-scarf", "Wool scarf", "Lisbon", 2400, "EUR",
     "Two metres of undyed wool in a plain rib. It has been to sea and did not mind."),
    ("enamel-mug", "Enamel mug", "Portland", 1999, "USD",
     "Steel under white enamel, with a blue rim. It chips with dignity, and it outlives its owner."),
    ("storm-lantern", "Storm lantern", "Portland", 6450, "USD",
     "Burns for twenty hours on one filling, in any wind that you would care to stand in."),
    ("sencha", "Spring sencha", "Onomichi", 2400, "JPY",
     "One hundred grams of first-flush green tea from the terraces above the inland sea."),
    ("coffee-pot", "Brass coffee pot", "Kuwait City", 12500, "KWD",
     "A dallah for six small cups, spun from brass and tinned inside. Bring your own cardamom."),
)  # fmt: skip


class Command(BaseCommand):
    """Products in four currencies, and a member of staff."""

    help = "Make the demo's products and its staff user; a second run changes nothing."

    def handle(self, *args: Any, **options: Any) -> None:
        for slug, name, origin, minor, currency, description in PRODUCTS:
            facts = {
                "name": name, "origin": origin, "amount_minor": minor, "currency": currency, "description": description,
            }  # fmt: skip
            Product.objects.get_or_create(slug=slug, defaults=facts)
        known = (DATA / "admin-password").exists()
        password = keep_secret("admin-password", 9)
        staff = get_user_model().objects.filter(username=STAFF).first()
        if staff is None:
            get_user_model().objects.create_superuser(STAFF, password=password)
        elif not known:
            staff.set_password(password)
            staff.save(update_fields=["password"])
