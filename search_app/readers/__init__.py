"""Find answers in passages: windows, logits, spans, scores."""
