"""A pretend payment gateway: another company, which happens to be installed next door.

It keeps its own tables and knows nothing of the shop's; the two speak HTTP.
"""
