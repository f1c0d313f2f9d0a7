"""``python -m ecluse`` is the ``ecluse`` command."""

from ecluse.cli import main

if __name__ == "__main__":
    main()
