#!/usr/bin/env bash
# Licensed under the Apache License, Version 2.0. See LICENSE.
#
# Make or refresh a virtual environment with this project in it:  scripts/venv.sh FOLDER EXTRA[,EXTRA...]
#
# Needs nothing but a Python of 3.11 to 3.14 with its venv module; PYTHON=... names one to use. Run again, it installs only what
# changed. What is installed is what constraints.txt says, the build backend included.
set -euo pipefail

folder=$1
extras=$2
cd "$(dirname "$0")/.."

fits() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1
}

find_python() {
    local candidate
    # In the order of how well they are tried: the constraints are made and tested on these.
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3.14 python3 python}; do
        if fits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    cat >&2 <<'EOT'
No suitable Python found. This needs Python 3.11, 3.12, 3.13 or 3.14 with the modules venv and ensurepip
(on Debian and Ubuntu: the package python3-venv). Name another one with: make PYTHON=/path/to/python3 ...
EOT
    return 1
}

if ! { [ -x "$folder/bin/python" ] && fits "$folder/bin/python"; }; then
    python=$(find_python)
    echo "Creating $folder with $("$python" --version 2>&1)"
    rm -rf "$folder"
    "$python" -m venv "$folder"
fi

# One short line per package; all that pip said is shown if it fails.
install() {
    local said="$folder/pip.log" complaints="$folder/pip-complaints.log"
    if ! "$folder/bin/python" -m pip install --disable-pip-version-check --no-input --no-compile \
        --progress-bar off -c constraints.txt "$@" 2>"$complaints" \
        | tee "$said" | sed -u -n -E 's/^(Collecting [^ ]+|Building [^ ]+|Installing collected packages).*/  \1/p'; then
        tail -n 20 "$said" "$complaints" >&2
        echo "pip failed; run the same command again when the cause is gone." >&2
        return 1
    fi
}

echo "Installing this project [$extras] and what it needs into $folder (a few minutes the first time)"
install hatchling editables
install --no-build-isolation -e ".[$extras]"

# Airflow's processes start three times slower without byte code. Said explicitly, since PYTHONDONTWRITEBYTECODE may be
# set, and in parallel, which pip does not do. Templates and the like that are no Python are not our concern.
echo "Compiling"
"$folder/bin/python" -m compileall -q -j 2 "$folder"/lib/python3*/site-packages >/dev/null 2>&1 || true

touch "$folder/.installed"
