"""Print as JSON the seconds and memory that a new process needs to open a collection.

python -m benchmarks.scale.probe HOME VECTORS.npy
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing

import numpy as np
import psutil  # type: ignore[import-untyped]

from benchmarks.scale.build import COLLECTION
from search_app.hardware import set_threads
from search_app.settings import load_settings
from search_app.stores.catalog import open_catalog
from search_app.stores.vectors import faiss


def main() -> None:
    home, vectors = sys.argv[1:]
    set_threads()
    faiss.describe()  # the library is loaded before anything is measured
    asked = np.load(vectors)
    found: dict[str, float] = {}
    with closing(open_catalog(load_settings(home=home))) as catalog:
        before, start = resident(), time.perf_counter()
        with closing(catalog.open(COLLECTION)) as store:
            store.search_dense(asked[:1], k=10)
            found["open_dense"] = time.perf_counter() - start
            found["resident_dense"] = resident() - before
            for vector in asked:
                store.search_dense(vector[None], k=10)
            found["resident_asked"] = resident() - before
            start = time.perf_counter()
            store.search_keyword(["Which river crosses Vienna?"], k=10)
            found["open_keyword"] = time.perf_counter() - start
            found["resident"] = resident() - before
    print(json.dumps(found))


def resident() -> int:
    """Resident memory of this process in bytes."""
    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    main()
