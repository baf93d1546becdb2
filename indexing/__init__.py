"""Turn documents into an index: find files, convert, split, encode and write them."""
