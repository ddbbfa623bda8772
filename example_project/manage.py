"""`python example_project/manage.py COMMAND`, from any folder."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Run a management command of the shop."""
    # Not this file's own folder: our celery.py would hide the library of that name.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
    from django.core.management import execute_from_command_line  # noqa: PLC0415 - after the path is right

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
