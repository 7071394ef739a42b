#!/usr/bin/env bash
# The Python SDK (sdk/python): installs it, holds its stubs to the schema, checks its types, and tests it against the built program.
#
#   scripts/sdk.sh            all of it
#   scripts/sdk.sh stubs      writes the stubs anew from proto/
#   scripts/sdk.sh record     writes cli/src/top/recorded anew: what a coordinator answers, for the tests of `consort top`
#
# Needs python3 with venv, what sdk/python/pyproject.toml names (installed into target/sdk) and the built program (CONSORT, default
# target/release/consort). `--optional` first: exit status 0, with the reason, where python3 cannot make the environment.
set -euo pipefail
cd "$(dirname "$0")/.."

export PYTHONDONTWRITEBYTECODE=1
readonly SDK=sdk/python
# What the operators' port speaks.
readonly SCHEMAS=(consort/job/v1/job.proto consort/limits/v1/limits.proto consort/model/v1/model.proto)

main() {
    optional=no
    if [ "${1:-}" = --optional ]; then
        optional=yes
        shift
    fi
    CONSORT=$(realpath -m "${CONSORT:-target/release/consort}")
    export CONSORT
    install
    case "${1:-}" in
    '')
        built
        compare
        types
        tests
        ;;
    stubs) generate "$SDK/src" ;;
    record)
        built
        (cd "$SDK" && "$python" -m tests.record ../../cli/src/top/recorded)
        ;;
    *)
        echo "sdk.sh does not know $1; see its head" >&2
        exit 2
        ;;
    esac
}

cannot() {
    echo "sdk.sh cannot run: $1" >&2
    [ "$optional" = yes ] && exit 0
    exit 1
}

built() {
    [ -x "$CONSORT" ] || cannot "$CONSORT is not built; cargo build --release builds it"
}

# The environment, unless it was made for this very pyproject.toml. The package itself is installed from its folder, editable.
install() {
    local venv=$PWD/target/sdk/venv
    python=$venv/bin/python
    if ! cmp -s "$SDK/pyproject.toml" "$venv/pyproject.toml"; then
        rm -rf "$venv"
        python3 -m venv "$venv" >/dev/null 2>&1 || cannot 'python3 makes no virtual environment here'
        "$python" -m pip install --quiet --disable-pip-version-check -e "$SDK[examples,test]" || {
            rm -rf "$venv"
            cannot 'pip cannot install what pyproject.toml names'
        }
        cp "$SDK/pyproject.toml" "$venv/pyproject.toml"
    fi
}

# generate FOLDER: the stubs of the operators' schemas, as modules of the package itself.
generate() {
    local schema
    "$python" -m grpc_tools.protoc --proto_path=proto --python_out="$1" --pyi_out="$1" "${SCHEMAS[@]}"
    for schema in "${SCHEMAS[@]}"; do
        mkdir -p "$1/$(dirname "$schema")"
        : >"$1/$(dirname "$schema")/__init__.py"
        : >"$1/$(dirname "$(dirname "$schema")")/__init__.py"
    done
}

compare() {
    local again folder
    again=$(mktemp -d)
    generate "$again"
    for folder in job limits model; do
        diff -r -x __pycache__ "$again/consort/$folder" "$SDK/src/consort/$folder" || {
            rm -rf "$again"
            echo 'the stubs are not those of the schema; scripts/sdk.sh stubs writes them anew' >&2
            exit 1
        }
    done
    rm -rf "$again"
    echo 'the stubs are those of the schema'
}

types() {
    (cd "$SDK" && "$python" -m mypy && "$python" -m mypy tests examples)
}

tests() {
    (cd "$SDK" && "$python" -m pytest -p no:cacheprovider)
}

main "$@"
