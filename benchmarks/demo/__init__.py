"""Questions about the documents of `make demo`, and how well they are answered."""
