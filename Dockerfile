# Two images, both installed from requirements.lock:
#   docker build --target app .                              API, indexer and worker, models included (CPU)
#   docker build --target app --build-arg ACCELERATOR=gpu .  the same with CUDA builds of torch and FAISS
#   docker build --target ui .                               the search page, without torch
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONHASHSEED=0
WORKDIR /build
RUN python -m venv --without-pip /opt/venv && python -m venv /opt/pip
COPY requirements.lock ./


FROM builder AS ui-packages
RUN /opt/pip/bin/pip --python /opt/venv/bin/python install --no-compile -c requirements.lock \
      click httpx numpy platformdirs pydantic pydantic-settings streamlit
COPY docker/trim ./
RUN ./trim


FROM builder AS app-packages
ARG ACCELERATOR=cpu
ARG TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu
COPY pyproject.toml docker/requirements.py ./
# Install the CPU build first, from local wheels or PyTorch's index; otherwise another package pulls in the CUDA build.
RUN pip="/opt/pip/bin/pip --python /opt/venv/bin/python" && torch=$(grep '^torch==' requirements.lock) && \
    if [ "$ACCELERATOR" = cpu ]; then \
      $pip install --no-compile --no-deps --no-index "$torch" || $pip install --no-compile --no-deps --index-url "$TORCH_CPU_INDEX" "$torch"; \
    else $pip install --no-compile -c requirements.lock "$torch"; fi && \
    python requirements.py "$ACCELERATOR" > requirements.txt && \
    $pip install --no-compile -c requirements.lock -r requirements.txt
COPY docker/trim ./
RUN ./trim


FROM builder AS program
RUN /opt/pip/bin/pip install --quiet -c requirements.lock setuptools
COPY pyproject.toml README.md LICENSE ./
COPY search_app search_app
COPY indexing indexing
COPY ui ui
RUN /opt/pip/bin/pip install --no-deps --no-build-isolation --target /opt/search-app . && \
    sed -i '1s|^#!.*|#!/opt/venv/bin/python|' /opt/search-app/bin/*


# Index one document and ask a question, without a network: proves that the image is complete, and compiles exactly the
# modules that are used.
FROM app-packages AS app-ready
COPY --from=program /opt/search-app /opt/search-app
ENV PATH=/opt/search-app/bin:/opt/venv/bin:$PATH PYTHONPATH=/opt/search-app HF_HUB_OFFLINE=1 SEARCH_APP_HOME=/build/home
RUN python -m compileall -q /opt/search-app && \
    search-index apply /opt/search-app/search_app/models/reader/README.md && \
    search-app answer "What is this model?" > /dev/null && \
    python -c "import search_app.api.app, elasticsearch.helpers, indexing.converters.pdf, indexing.converters.html, indexing.converters.office"


FROM ${PYTHON_IMAGE} AS base
RUN groupadd --gid 1000 search && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /tmp search
ENV PATH=/opt/search-app/bin:/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/search-app \
    PYTHONUNBUFFERED=1 \
    HF_HUB_OFFLINE=1 \
    HAYSTACK_TELEMETRY_ENABLED=False
WORKDIR /


FROM base AS ui
COPY --from=ui-packages /opt/venv /opt/venv
COPY --from=program /opt/search-app/ui /opt/search-app/ui
COPY --from=program /opt/search-app/search_app/*.py /opt/search-app/search_app/
COPY --from=program /opt/search-app/search_app/api /opt/search-app/search_app/api
COPY --from=program /opt/search-app/search_app/queue /opt/search-app/search_app/queue
COPY --from=program /opt/search-app/search_app/text /opt/search-app/search_app/text
COPY --from=program /opt/search-app/indexing/__init__.py /opt/search-app/indexing/formats.py /opt/search-app/indexing/
USER 1000:1000
EXPOSE 8501
CMD ["python", "-m", "ui", "--host", "0.0.0.0"]


FROM base AS app
# New volumes inherit the owner of these folders.
RUN cd / && install -d -o 1000 -g 1000 /var/lib/search-app /var/lib/search-app-jobs \
      secrets/api secrets/reader secrets/indexer secrets/elasticsearch secrets/grafana
COPY --from=app-ready /opt/venv /opt/venv
COPY --from=app-ready /opt/search-app /opt/search-app
COPY docker/setup.py docker/worker_health.py /opt/search-app/docker/
ENV SEARCH_APP_HOME=/var/lib/search-app
USER 1000:1000
EXPOSE 8000
CMD ["search-app", "serve", "--host", "0.0.0.0"]
