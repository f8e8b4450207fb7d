#!/usr/bin/env bash
# Builds the CPU image without a container engine, starts API and worker out of it against a real PostgreSQL and a real
# Redis, and checks that both are healthy. Needs root, buildah and debootstrap (Debian's packages), and .venv for the servers.
#
#   deploy/image.sh              build and check
#   deploy/image.sh build        build only
#   deploy/image.sh check        check the image that is there
#
# IMAGE       name of the image                                      localhost/unlearn:local-cpu
# BASE_IMAGE  an image with Python 3.11 to 3.13 and ca-certificates  made by debootstrap once, and kept
# SUITE       the Debian release to make the base of                 bookworm
# PYTHON      the Python that runs the servers for the check         .venv/bin/python
set -euo pipefail
cd "$(dirname "$0")/.."

IMAGE=${IMAGE:-localhost/unlearn:local-cpu}
SUITE=${SUITE:-bookworm}
BASE_IMAGE=${BASE_IMAGE:-}
PYTHON=${PYTHON:-.venv/bin/python}
PORT=${PORT:-18000}

say() { printf '[%4ds] %s\n' "$SECONDS" "$*" >&2; }
fail() { say "FAILED: $*"; exit 1; }

work=$(mktemp -d)
container=
processes=()
finish() {
    local status=$?
    trap - EXIT INT TERM
    for process in "${processes[@]}"; do kill -TERM -- "-$process" 2>/dev/null || true; done
    for process in "${processes[@]}"; do wait "$process" 2>/dev/null || true; done
    if [ -n "$container" ]; then buildah rm "$container" >/dev/null || true; fi
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

make_base() {
    BASE_IMAGE=localhost/unlearn-base:$SUITE
    if buildah inspect --type image "$BASE_IMAGE" >/dev/null 2>&1; then
        say "base: $BASE_IMAGE is there already"
        return
    fi
    command -v debootstrap >/dev/null || fail "debootstrap is missing: apt-get install debootstrap, or name a BASE_IMAGE"
    say "base: debootstrap of $SUITE"
    # in a folder that other users may enter: it becomes / of the image
    install -d -m 0755 "$work/base"
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$SUITE" "$work/base" >"$work/debootstrap.log" \
        || { tail -n 20 "$work/debootstrap.log" >&2; fail "debootstrap"; }
    rm -rf "$work"/base/var/cache/apt/archives/*.deb "$work"/base/var/lib/apt/lists/* "$work"/base/var/log/*.log
    local base
    base=$(buildah from scratch)
    buildah add --quiet "$base" "$work/base" / >/dev/null
    buildah config --cmd /bin/sh "$base"
    buildah commit --quiet --rm "$base" "$BASE_IMAGE" >/dev/null
    rm -rf "$work/base"
}

build() {
    [ -n "$BASE_IMAGE" ] || make_base
    # pip inside the build finds packages as pip on this machine does
    python3 deploy/pip_settings.py "$work/pip.conf" >"$work/folders"
    local mounts=()
    while read -r folder; do mounts+=(--volume "$folder:$folder:ro"); done <"$work/folders"
    say "image: $IMAGE on $BASE_IMAGE"
    buildah bud --isolation chroot --format docker --layers --pull-never --tag "$IMAGE" \
        --build-arg "BASE_IMAGE=$BASE_IMAGE" --build-arg TORCH=cpu --build-arg "TORCH_CPU_INDEX=${TORCH_CPU_INDEX:-}" \
        --secret "id=pip,src=$work/pip.conf" "${mounts[@]}" . >"$work/build.log" 2>&1 \
        || { tail -n 40 "$work/build.log" >&2; fail "the image could not be built"; }
    say "image: $(buildah images --format '{{.Name}}:{{.Tag}} {{.Size}}' --filter "reference=$IMAGE" | head -n 1)"
}

# Runs a command in the image as its own user, with the environment that docker-compose.yml gives its services.
inside() {
    buildah run --isolation chroot --user 10001:10001 \
        --volume "$work/secrets:/run/secrets:ro" --volume "$work/state:/var/lib/unlearn:rw" \
        --env "DATABASE_URL=$DATABASE_URL" --env "REDIS_URL=$REDIS_URL" --env STORAGE_URL=postgres:// \
        --env SERVICE_KEY_FILE=/run/secrets/service.key --env WORKER_GPUS= \
        "$container" -- "$@"
}

# Starts a command in the background, in a session of its own, so that it can be stopped with all that it started.
background() {
    local log=$1
    shift
    export -f inside
    export work container DATABASE_URL REDIS_URL
    setsid bash -c 'inside "$@"' - "$@" >"$log" 2>&1 &
    processes+=($!)
}

# Waits for a command to succeed while the background process lives; shows its log when it does not.
wait_for() {
    local description=$1 process=$2 log=$3 seconds=$4 deadline
    shift 4
    deadline=$((SECONDS + seconds))
    until "$@" >"$work/answer" 2>&1; do
        if ! kill -0 "$process" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
            tail -n 30 "$log" "$work/answer" >&2
            fail "$description"
        fi
        sleep 1
    done
    say "check: $description"
}

ready() {
    python3 -c 'import sys, urllib.request as request; print(request.urlopen(sys.argv[1], timeout=4).read().decode())' \
        "http://127.0.0.1:$PORT/readyz"
}

check() {
    [ -x "$PYTHON" ] || fail "no $PYTHON to start the servers with: run make, or set PYTHON"
    say "check: PostgreSQL and Redis"
    mkdir "$work/servers"
    setsid "$PYTHON" deploy/image_servers.py "$work/servers" "$work/addresses" >"$work/servers.log" 2>&1 &
    processes+=($!)
    wait_for "both servers answer" "$!" "$work/servers.log" 120 test -s "$work/addresses"
    # shellcheck source=/dev/null
    . "$work/addresses"

    # only the image's user may enter this folder; only root may enter $work, but mounts do not pass through it
    install -d -o 10001 -g 10001 -m 0700 "$work/secrets" "$work/state"
    head -c 32 /dev/urandom | base64 >"$work/secrets/service.key"
    chown 10001:10001 "$work/secrets/service.key"
    install -d -o 10001 -g 10001 "$work/state/scratch" "$work/state/models" "$work/state/locks"
    container=$(buildah from --pull-never "$IMAGE")

    inside sh -c 'test "$(id -u)" = 10001' || fail "the image's user is not 10001"
    inside unlearn migrate >"$work/migrate.log" 2>&1 || { tail -n 30 "$work/migrate.log" >&2; fail "migrations"; }
    say "check: migrated"
    background "$work/api.log" uvicorn api.main:app_from_environment --factory --host 127.0.0.1 --port "$PORT" --no-access-log
    wait_for "the API out of the image is ready" "${processes[-1]}" "$work/api.log" 90 ready
    background "$work/worker.log" python -m worker
    wait_for "the worker out of the image gives signs of life" "${processes[-1]}" "$work/worker.log" 90 inside python -m worker.health
    say "healthy: $IMAGE"
}

[ "$(id -u)" = 0 ] || fail "buildah with chroot isolation and debootstrap need root"
command -v buildah >/dev/null || fail "buildah is missing: apt-get install buildah"
case "${1:-all}" in
    all) build && check ;;
    build) build ;;
    check) check ;;
    *) fail "the argument is build, check, or none for both" ;;
esac
