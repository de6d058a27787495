# syntax=docker/dockerfile:1
# docker build -t fovea .        docs/container.md has the variants and shows how to run it.
ARG PYTHON=3.12-slim-bookworm

FROM python:${PYTHON} AS build
# The base image's pip installs into the environment, which has none.
ENV PIP_PYTHON=/venv/bin/python PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv --without-pip /venv
COPY requirements.lock requirements/gpu.txt requirements/grpc.txt requirements/heif.txt requirements/openvino.txt \
    requirements/otel.txt requirements/redis.txt /build/
RUN pip install --require-hashes -r /build/requirements.lock
# "grpc heif openvino otel redis" adds gRPC, HEIC pictures, a second runtime, traces, and exact rate limits over several
# processes.
ARG EXTRAS=""
RUN for extra in $EXTRAS; do pip install --require-hashes -r /build/$extra.txt || exit; done
# GPU=1 replaces ONNX Runtime by its build for NVIDIA's GPUs, with the CUDA libraries.
ARG GPU=""
RUN if [ -n "$GPU" ]; then pip uninstall --yes onnxruntime \
    && pip install --require-hashes -r /build/gpu.txt; fi
COPY main.py run_locally.py api_settings.env LICENSE pyproject.toml deploy/healthcheck.py /app/
COPY api /app/api
COPY engine /app/engine
COPY loaders /app/loaders
COPY tools/__init__.py /app/tools/
COPY tools/predict /app/tools/predict
COPY utils /app/utils
# The file system may be read-only at run time, so the bytecode is compiled here. pip has compiled that of the packages.
RUN python -m compileall -q -j 0 /app

FROM python:${PYTHON}
RUN groupadd --gid 10001 fovea && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin fovea \
    && install --directory --owner=fovea --group=fovea /models /cache
COPY --from=build /venv /venv
COPY --from=build /app /app
COPY --chown=10001:10001 models /models
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    API_HOST=0.0.0.0 API_PORT=8000 API_MODELS_DIR=/models API_CACHE_DIR=/cache API_LOG_FORMAT=json
WORKDIR /app
# A number, so that Kubernetes' runAsNonRoot can verify it.
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "healthcheck.py"]
CMD ["python", "main.py"]
ARG PYTHON
ARG REVISION=""
LABEL org.opencontainers.image.title="Fovea" \
    org.opencontainers.image.description="Serves ONNX image models over HTTP" \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.base.name="docker.io/library/python:$PYTHON"
