"""``python -m tellstream``."""

from tellstream.cli import main

main()
