"""OpenDocument: texts, slides and spreadsheets. One module per kind, and those for what they share."""
