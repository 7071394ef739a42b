#!/usr/bin/env bash
# Lints the schema, and runs a job as any gRPC client would, by reflection, with buf (pinned in scripts/buf).
#
#   scripts/buf.sh          all of it: lint, then a consortium of three started from a demo's files, and a job on it
#   scripts/buf.sh lint     the schema only
#   scripts/buf.sh job --url URL --ca FILE --token-file FILE --job FILE
#                           on a coordinator that runs: lists the services, submits the job, watches it to its end, lists jobs
#
# Needs npm and python3; all but `lint` and `job` need the built program (CONSORT, default target/release/consort).
# `--optional` first: exit status 0, with the reason, where npm or python3 is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

# A job of this script takes seconds; a watched job that hangs must not hold up the gate for longer.
readonly WATCH_LIMIT=15m

main() {
    local optional=no
    if [ "${1:-}" = --optional ]; then
        optional=yes
        shift
    fi
    for tool in npm python3; do
        command -v "$tool" >/dev/null || cannot "$optional" "$tool is not here"
    done
    work=$(mktemp -d)
    started=()
    trap stop EXIT
    install_buf
    case "${1:-}" in
    '')
        lint
        consortium
        ;;
    lint) lint ;;
    job)
        shift
        job "$@"
        ;;
    *) usage "unknown command $1" ;;
    esac
}

usage() {
    echo "buf.sh: $1; see the head of scripts/buf.sh" >&2
    exit 2
}

cannot() {
    echo "buf.sh cannot run: $2" >&2
    [ "$1" = yes ] && exit 0
    exit 1
}

# Ends the daemons this script started, shows the end of their logs after a failure, and removes the folder.
stop() {
    local status=$? process
    for process in "${started[@]}"; do
        kill "$process" 2>/dev/null || true
    done
    for process in "${started[@]}"; do
        wait "$process" 2>/dev/null || true
    done
    if [ "$status" != 0 ] && [ ${#started[@]} -gt 0 ]; then
        tail -n 20 "$work"/*.log >&2
    fi
    rm -rf "$work"
}

# Into target/buf, unless the pinned version is there. Its install script is not needed and not run.
install_buf() {
    buf=$PWD/target/buf/node_modules/.bin/buf
    if [ ! -x "$buf" ] || ! cmp -s scripts/buf/package-lock.json target/buf/package-lock.json; then
        rm -rf target/buf
        mkdir -p target/buf
        cp scripts/buf/package.json scripts/buf/package-lock.json target/buf/
        (cd target/buf && npm ci --ignore-scripts --silent --no-audit --no-fund) || {
            rm -rf target/buf
            echo 'buf.sh: npm could not install @bufbuild/buf' >&2
            exit 1
        }
    fi
    export BUF_CACHE_DIR=$PWD/target/buf/cache
    echo "buf $("$buf" --version)"
}

lint() {
    "$buf" lint proto
    echo 'the schema passes buf lint'
}

# job --url URL --ca FILE --token-file FILE --job FILE
job() {
    url='' ca='' token_file='' document=''
    while [ $# -gt 0 ]; do
        [ $# -gt 1 ] || usage "$1 needs a value"
        case "$1" in
        --url) url=${2%/} ;;
        --ca) ca=$2 ;;
        --token-file) token_file=$2 ;;
        --job) document=$2 ;;
        *) usage "unknown option $1" ;;
        esac
        shift 2
    done
    for option in url ca token_file document; do
        [ -n "${!option}" ] || usage 'job needs --url, --ca, --token-file and --job'
    done
    # In a file, so that the token is in no process list.
    (umask 077 && printf 'authorization: Bearer %s\n' "$(tr -d '[:space:]' <"$token_file")" >"$work/headers")

    for version in v1 v1alpha; do
        call --reflect-protocol "grpc-$version" --list-services "$url" >"$work/services"
        for service in consort.job.v1.JobService consort.model.v1.ModelService grpc.health.v1.Health; do
            grep -qx "$service" "$work/services" || {
                echo "reflection $version does not list $service, only:" >&2
                cat "$work/services" >&2
                exit 1
            }
        done
        echo "reflection $version lists $(wc -l <"$work/services") services"
    done

    call --data '{}' "$url/grpc.health.v1.Health/Check" | grep -q SERVING || {
        echo 'the health service does not say SERVING' >&2
        exit 1
    }
    echo 'health: serving'

    messages request "$document" "buf-$(date +%s)-$$" >"$work/request.json"
    rpc SubmitJob @"$work/request.json" >"$work/submitted.json"
    id=$(messages id "$work/submitted.json")
    echo "submitted $id"
    rpc SubmitJob @"$work/request.json" >"$work/again.json"
    [ "$(messages id "$work/again.json")" = "$id" ] || {
        echo "the same idempotency key made another job" >&2
        exit 1
    }
    messages request-json "$document" "$(messages key "$work/request.json")" >"$work/request-json.json"
    rpc SubmitJob @"$work/request-json.json" >"$work/again.json"
    [ "$(messages id "$work/again.json")" = "$id" ] || {
        echo 'the same job as a message and as JSON is not the same job' >&2
        exit 1
    }
    stranger
    rpc WatchJob "{\"id\": \"$id\"}" --timeout "$WATCH_LIMIT" >"$work/watched.json"
    messages completed "$work/watched.json" "$id"
    rpc ListJobs '{}' >"$work/listed.json"
    messages listed "$work/listed.json" "$id"
    rpc ListRounds "{\"id\": \"$id\"}" >"$work/rounds.json"
    messages rounds "$work/rounds.json" "$work/watched.json"
    call --data "{\"job\": \"$id\"}" "$url/consort.model.v1.ModelService/DownloadModel" >"$work/model.json"
    messages model "$work/model.json" "$work/watched.json"
}

# A call without the token is refused, and the refusal has its reason.
stranger() {
    if "$buf" curl --protocol grpc --cacert "$ca" --schema proto --data '{}' "$url/consort.job.v1.JobService/ListJobs" \
        >"$work/stranger.json" 2>&1; then
        echo 'a call without the token was answered' >&2
        exit 1
    fi
    grep -q unauthenticated "$work/stranger.json" || {
        cat "$work/stranger.json" >&2
        exit 1
    }
    echo 'a call without the token is refused'
}

# rpc METHOD DATA OPTIONS...
rpc() {
    local method=$1 data=$2
    shift 2
    call --data "$data" "$@" "$url/consort.job.v1.JobService/$method"
}

call() {
    "$buf" curl --protocol grpc --cacert "$ca" --header @"$work/headers" --reflect-header '*' "$@"
}

messages() {
    python3 scripts/buf/messages.py "$@"
}

# Three members and a coordinator, from the files of a short demo; then a second job on them, by reflection.
consortium() {
    local consort=${CONSORT:-target/release/consort} folder=$work/consortium member address
    [ -x "$consort" ] || {
        echo "buf.sh: $consort is not built; cargo build --release builds it" >&2
        exit 1
    }
    "$consort" demo --members 3 --rounds 3 --json --dir "$folder" >"$work/demo.json" || {
        cat "$work/demo.json" >&2
        exit 1
    }
    # The demo's members consent to one job for ever. Ten times that, for the second.
    for member in "$folder"/*/consent.toml; do
        sed -i -E 's/^max_epsilon_lifetime = .*/max_epsilon_lifetime = 10.0/' "$member"
        serve "$consort" participant "$(dirname "$member")"
    done
    serve "$consort" coordinator "$folder/coordinator"
    address=$(sed -n -E 's/^operators_address = "(.*)"$/\1/p' "$folder/coordinator/config.toml")
    answers "$address" || {
        echo "the coordinator does not answer on $address" >&2
        exit 1
    }
    job --url "https://$address" --ca "$folder/coordinator/tls/cert.pem" \
        --token-file "$folder/coordinator/operator.token" --job "$folder/job.json"
}

# serve PROGRAM ROLE FOLDER
serve() {
    "$1" "$2" serve --config "$3/config.toml" >"$work/$(basename "$3").log" 2>&1 &
    started+=($!)
}

# Whether HOST:PORT takes a connection within twenty seconds.
answers() {
    local _
    for _ in $(seq 100); do
        if (exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>/dev/null; then return 0; fi
        sleep 0.2
    done
    return 1
}

main "$@"
