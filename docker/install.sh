#!/bin/sh
# Installs exactly what one lock names into an environment of its own, for a builder stage of the images:
#
#   install.sh LOCK FOLDER
#
# LOCK's own folder may hold wheels beside it. Where uv's wheel lies in /build, a wheelhouse came with the build:
# then everything is in it and no network is asked. Else the index is what pip's variables name, and torch's
# CPU build, unless its wheel is there, is taken from PyTorch's own index. A CA bundle in /build is used for both.
set -eu
lock=$1 environment=$2 packages=$2/lib/python3.11/site-packages

if [ -f /build/ca-bundle.pem ]; then
  export SSL_CERT_FILE=/build/ca-bundle.pem PIP_CERT=/build/ca-bundle.pem
fi
# uv unpacks into its cache and links from there: nothing is written twice.
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
export NO_COLOR=1 UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=hardlink UV_CACHE_DIR=/opt/uv-cache
set -- --find-links "$(dirname "$lock")"
if ls /build/uv-*.whl >/dev/null 2>&1; then
  export PIP_NO_INDEX=1 PIP_FIND_LINKS=/build
  set -- "$@" --no-index
else
  [ -z "${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX="$PIP_INDEX_URL"
  [ -z "${PIP_EXTRA_INDEX_URL:-}" ] || export UV_INDEX="$PIP_EXTRA_INDEX_URL"
  [ -z "${PIP_FIND_LINKS:-}" ] || set -- "$@" --find-links "$PIP_FIND_LINKS"
  case $lock:$(ls "${lock%/*}") in *torch-cpu.lock:*.whl*) ;; *torch-cpu.lock:*) set -- "$@" --torch-backend cpu ;; esac
fi

python3.11 -m pip install --quiet --require-hashes --only-binary :all: --target /build/tools -r /build/installer.lock
PATH=/build/tools/bin:$PATH
uv venv --quiet --relocatable --python /usr/local/bin/python3.11 "$environment"
uv pip install --python "$environment/bin/python" --require-hashes --no-deps --only-binary :all: "$@" -r "$lock"
rm -r "$UV_CACHE_DIR"

# What no stage uses: programs, headers, tests. numpy.testing imports from numpy's own tests.
find "$environment/bin" -mindepth 1 ! -name 'python*' -delete
find "$packages" -depth -type d -name tests ! -path '*/numpy/*' -exec rm -r {} +
rm -rf "$packages/torch/include" "$packages/torch/test"
if [ -d "$packages/torch/bin" ]; then
  find "$packages/torch/bin" -type f ! -name torch_shm_manager -delete
fi
# The root is read-only when a stage runs: bytecode is made now, and trusted without a look at its source.
# A few files of some packages are not for this Python: what they miss is found by importing them, not here.
python3.11 -m compileall -q -j 0 --invalidation-mode unchecked-hash "$packages" >/build/compile.log || true
chmod -R a+rX,go-w "$environment"
