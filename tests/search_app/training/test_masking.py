from __future__ import annotations

import numpy as np

from search_app.training.masking import IGNORED, Masking


def test_whole_words_are_chosen_80_10_10_and_never_special_tokens() -> None:
    masking = Masking(mask_id=4, vocabulary=1000)
    ids = np.arange(100, 300, dtype=np.int64)
    words = np.repeat(np.arange(100), 2)
    words[[0, 1, -1]] = -1
    rng = np.random.default_rng(0)
    outcomes = {"mask": 0, "same": 0, "random": 0}
    inputs = []
    for _ in range(200):
        masked, labels = masking(ids, words, rng)
        inputs.append(tuple(masked))
        chosen = labels != IGNORED
        assert not chosen[[0, 1, -1]].any()
        assert (masked == ids)[~chosen].all()
        assert (labels == ids)[chosen].all()
        assert (chosen[2:-2].reshape(-1, 2).sum(axis=1) % 2 == 0).all()
        assert 29 <= chosen.sum() <= 31
        outcomes["mask"] += (masked == 4)[chosen].sum()
        outcomes["same"] += (masked == ids)[chosen].sum()
        outcomes["random"] += ((masked != 4) & (masked != ids))[chosen].sum()
    total = sum(outcomes.values())
    assert 0.78 < outcomes["mask"] / total < 0.82
    assert 0.08 < outcomes["same"] / total < 0.12
    assert 0.08 < outcomes["random"] / total < 0.12
    assert len(set(inputs)) == 200  # other words each time


def test_a_window_of_one_word_is_masked() -> None:
    _, labels = Masking(mask_id=4, vocabulary=10)(np.array([1, 7, 2]), np.array([-1, 0, -1]), np.random.default_rng(0))
    assert list(labels) == [IGNORED, 7, IGNORED]
