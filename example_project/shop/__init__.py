"""The shop itself: products, orders, and how they are paid."""
