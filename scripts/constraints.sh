#!/usr/bin/env bash
# Licensed under the Apache License, Version 2.0. See LICENSE.
#
# Write constraints.txt anew:  scripts/constraints.sh AIRFLOW_VERSION PYTHON [PYTHON...]
#
# Installs the project with all that its tests and its demo need into a fresh virtual environment per Python, and
# pins what came. The first Python decides, the others follow it and add what only they need: name the oldest first,
# to the patch (a package may want 3.11.5, and Debian 12 has 3.11.2).
set -euo pipefail

airflow=$1
shift
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
touch "$scratch/pins"

for python in "$@"; do
    echo "Resolving for $("$python" --version)"
    rm -rf "$scratch/venv"
    "$python" -m venv "$scratch/venv"
    "$scratch/venv/bin/python" -m pip install --disable-pip-version-check --quiet -c "$scratch/pins" \
        "apache-airflow==$airflow" editables -e '.[dev]'
    "$scratch/venv/bin/python" -m pip freeze --exclude-editable --exclude pip --exclude setuptools >>"$scratch/pins"
    LC_ALL=C sort -f -u -o "$scratch/pins" "$scratch/pins"
done

if grep -nE '@|/' "$scratch/pins"; then
    echo "A package came from a file or an address; constraints.txt holds names and versions only." >&2
    exit 1
fi
{
    echo "# What make test and make demo install, exactly. Written by scripts/constraints.sh (see make constraints)."
    cat "$scratch/pins"
} >constraints.txt
