"""`python -m indexing.cli`."""

from indexing.cli import main

main()
