# One image for the API, the worker, the migrations and the `unlearn` command. The container's command chooses.
#
#   docker build -t unlearn:cpu .                              CPU build of torch
#   docker build -t unlearn:cuda --build-arg TORCH=cuda .      CUDA build of torch (several GB)
#
# BASE_IMAGE must have Python 3.11 to 3.13 with venv, and ca-certificates, as the official python:3.x-slim images have,
# or a Debian made by debootstrap (deploy/image.sh).
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS dependencies
# cpu or cuda
ARG TORCH=cpu
# The index where pip finds the CPU build. Empty: pip looks only in the other places that it is configured with.
ARG TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu
# Another index beside the public one. Never one with a password: arguments stay in the image's history. A pip
# configuration with passwords is given as a secret instead: --secret id=pip,src=pip.conf
ARG PIP_EXTRA_INDEX_URL=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# The dependencies are a layer of their own, which is built, stored and pulled again only when they change. The project
# itself is a layer of a few megabytes beside them.
RUN python3 -m venv /opt/venv \
    && echo /opt/unlearn >"$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/unlearn.pth"
COPY pyproject.toml constraints.txt ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    set -eu; \
    case "$TORCH" in \
        cpu) set -- ${TORCH_CPU_INDEX:+--extra-index-url "$TORCH_CPU_INDEX"} ;; \
        cuda) set -- ;; \
        *) echo "TORCH is cpu or cuda, not '$TORCH'" >&2; exit 1 ;; \
    esac; \
    if [ -z "$PIP_EXTRA_INDEX_URL" ]; then unset PIP_EXTRA_INDEX_URL; fi; \
    python3 -c 'import tomllib; print("\n".join(tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]))' \
        > requirements.txt; \
    /opt/venv/bin/pip install "$@" --constraint constraints.txt --requirement requirements.txt; \
    build=$(/opt/venv/bin/python -c 'import torch; print("cuda" if torch.version.cuda else "cpu")'); \
    if [ "$build" != "$TORCH" ]; then echo "asked for torch's $TORCH build, pip installed its $build build" >&2; exit 1; fi


FROM dependencies AS builder
COPY README.md ./
COPY api api
COPY core core
COPY migrations migrations
COPY worker worker
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    if [ -z "$PIP_EXTRA_INDEX_URL" ]; then unset PIP_EXTRA_INDEX_URL; fi; \
    /opt/venv/bin/pip install --no-deps --target /opt/unlearn . && /opt/venv/bin/pip check


FROM ${BASE_IMAGE} AS runtime
LABEL org.opencontainers.image.title="unlearning-service" \
      org.opencontainers.image.description="Makes language models forget text, measures what is left, keeps the evidence"
# The user's number is fixed, so that volumes and Kubernetes' runAsUser can refer to it.
RUN groupadd --gid 10001 unlearn \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/unlearn --shell /usr/sbin/nologin unlearn \
    && install -d -o 10001 -g 10001 -m 0750 /var/lib/unlearn \
        /var/lib/unlearn/scratch /var/lib/unlearn/models /var/lib/unlearn/keys /var/lib/unlearn/locks \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/unlearn/signing
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=builder /opt/unlearn /opt/unlearn
ENV PATH=/opt/unlearn/bin:/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    SCRATCH_DIR=/var/lib/unlearn/scratch \
    MODEL_CACHE=/var/lib/unlearn/models \
    GPU_LOCK_DIR=/var/lib/unlearn/locks \
    SIGNING_DIR=/var/lib/unlearn/signing
WORKDIR /var/lib/unlearn
EXPOSE 8000
# The health check of the API. A worker's is `python -m worker.health` (docker-compose.yml).
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=4 \
    CMD ["python", "-c", "import urllib.request as request; request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
CMD ["uvicorn", "api.main:app_from_environment", "--factory", "--host", "0.0.0.0", "--port", "8000", \
     "--no-access-log", "--no-server-header", "--timeout-graceful-shutdown", "20"]
USER 10001:10001
