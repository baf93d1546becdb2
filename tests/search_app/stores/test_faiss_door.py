import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from search_app.errors import IndexCorrupt
from search_app.stores.vectors import faiss


def _serialized() -> np.ndarray:
    index = faiss.library().IndexFlatIP(8)
    index.add(np.eye(8, dtype=np.float32))
    return faiss.serialized(index)


def test_an_index_is_restored_from_bytes_and_the_limits_are_reset() -> None:
    library = faiss.library()
    before = library.get_deserialization_vector_byte_limit(), library.get_deserialization_loop_limit()
    assert faiss.restored(_serialized()).ntotal == 8
    with pytest.raises(IndexCorrupt):
        faiss.restored(_serialized()[:50])
    assert before == (library.get_deserialization_vector_byte_limit(), library.get_deserialization_loop_limit())


@pytest.mark.parametrize("kept", [0, 3, 20, 60, 200])
def test_truncated_bytes_are_refused_with_the_next_command(kept: int) -> None:
    with pytest.raises(IndexCorrupt, match="search-index verify --repair"):
        faiss.restored(_serialized()[:kept])


def test_an_impossible_length_allocates_no_memory() -> None:
    data = _serialized()
    length = data.view(np.uint8)[-8 * 8 * 4 - 8 : -8 * 8 * 4]
    assert int.from_bytes(length.tobytes(), "little") in (64, 256)
    length[:] = np.frombuffer((1 << 38).to_bytes(8, "little"), dtype=np.uint8)
    with pytest.raises(IndexCorrupt):
        faiss.restored(data)


def test_a_gpu_build_without_its_libraries_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "faiss.py").write_text("raise RuntimeError('libcublas.so.12 is missing')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r});"
        " from search_app.stores.vectors.flat import FlatIndex; FlatIndex(3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "MissingExtra" in done.stderr
    assert "libcublas.so.12 is missing" in done.stderr
