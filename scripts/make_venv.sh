#!/bin/sh
# Create the virtual environment $1 from $2, or from the first Python >= 3.10 on PATH; keep one that works.
set -eu
venv=$1
wanted=${2:-}

usable() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1
}

if usable "$venv/bin/python"; then
    exit 0
fi
python=
for candidate in ${wanted:-python3 python3.12 python3.13 python3.11 python3.10 python}; do
    if usable "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "storm: error: no Python >= 3.10 found (tried: ${wanted:-python3, python3.10 to python3.13});" \
        "install one, e.g. sudo apt install python3 python3-venv, or name it: make PYTHON=/path/to/python3.11" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    echo "storm: error: $python cannot make virtual environments; run: sudo apt install $version-venv" >&2
    exit 1
fi
rm -rf "$venv"
"$python" -m venv "$venv"
