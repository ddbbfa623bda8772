"""The adapters. Each is one file of plain Python; `base.Gateway` says what to write."""
