#!/usr/bin/env bash
# Install metaloop and its peers into a new environment: benchmarks/peers.sh FOLDER
# learn2learn's C files are of an older Python: they are made anew from its Cython sources.
set -euo pipefail
folder=$(realpath -m "${1:?name a folder for the environment}")
cd "$(dirname "$0")/.."
python3 -m venv "$folder"
pip="$folder/bin/python -m pip --quiet --disable-pip-version-check"
$pip install --constraint constraints.txt --editable .
$pip install --constraint constraints.txt higher==0.2.1 torchopt==0.7.3 iteryne==0.1.0 parallel-metalearn==0.5.6 jax optax
$pip install "cython<3" "setuptools<81" wheel
sources=$(mktemp -d)
$pip download --quiet --no-deps --no-binary learn2learn --no-build-isolation --dest "$sources" learn2learn==0.2.0
tar -xzf "$sources"/learn2learn-0.2.0.tar.gz -C "$sources"
"$folder/bin/cython" "$sources"/learn2learn-0.2.0/learn2learn/data/*.pyx
$pip install --no-deps --no-build-isolation "$sources/learn2learn-0.2.0"
