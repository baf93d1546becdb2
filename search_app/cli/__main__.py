"""`python -m search_app.cli`."""

from search_app.cli import main

main()
