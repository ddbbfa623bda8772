"""The host's side in our tests: one order table and a handler whose moods a test can set."""

from .handler import MailingShopOrders as MailingShopOrders
from .handler import ShopOrders as ShopOrders
