"""The only module that imports faiss."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_app.errors import IndexCorrupt, MissingExtra
from search_app.stores.vectors import packages

Bytes = NDArray[np.uint8]


@functools.cache
def library() -> Any:
    """The module. Raises MissingExtra if it cannot be imported, ConfigurationError for conflicting packages."""
    found = packages.installed()
    packages.check(found)
    try:
        import faiss
    except ImportError as error:
        raise MissingExtra("faiss", packages.extra(found)) from error
    except RuntimeError as error:  # a GPU package without its libraries
        raise MissingExtra(f"faiss ({error})", packages.extra(found)) from error
    return faiss


def describe() -> dict[str, Any]:
    """Version and packages, for `info`. It touches no device, since CUDA errors can end the process."""
    options = library().get_compile_options().split()
    return {"version": library().__version__, "installed": packages.installed(), "for_gpu": "GPU" in options}


def serialized(index: Any) -> Bytes:
    """The index as bytes."""
    data: Bytes = library().serialize_index(index)
    return data


def restored(data: Bytes) -> Any:
    """Deserialise an index without allocating more than its bytes need. Raises IndexCorrupt."""
    faiss = library()
    bytes_before, loops_before = faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit()
    faiss.set_deserialization_vector_byte_limit(len(data))
    faiss.set_deserialization_loop_limit(len(data))
    try:
        return faiss.deserialize_index(data)
    except RuntimeError as error:
        raise IndexCorrupt(
            f"vector index: {str(error).splitlines()[0]}", hint="run: search-index verify --repair"
        ) from error
    finally:
        faiss.set_deserialization_vector_byte_limit(bytes_before)
        faiss.set_deserialization_loop_limit(loops_before)


def only(positions: NDArray[np.int64], total: int) -> Any:
    """A bitmap selector of these numbers, all below `total`."""
    chosen = np.zeros(total, dtype=bool)
    chosen[positions] = True
    return library().IDSelectorBitmap(np.packbits(chosen, bitorder="little"))


def view(codes: Any, shape: tuple[int, int]) -> Bytes:
    """The bytes of a C++ vector, not copied; valid until it changes."""
    if 0 in shape:
        return np.empty(shape, dtype=np.uint8)
    data: Bytes = library().rev_swig_ptr(codes.data(), shape[0] * shape[1])
    return data.reshape(shape)
