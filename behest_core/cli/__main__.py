"""`python -m behest_core.cli` is `behest`."""

from behest_core.cli import main

main()
