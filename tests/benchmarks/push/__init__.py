"""The three processes of a live push: who says that something has changed, who serves the pages, and the pages."""
