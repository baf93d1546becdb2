"""Measure retrieval and answers on SQuAD files."""
