#!/usr/bin/env bash
# A job in which one of five members is the independent participant of scripts/second_participant, through `consort uplink`: it
# shares no code with the others. A clinic is killed in mid-upload of round 2, so that only four are left to open the sum and each
# is needed; the coordinator is killed in mid-collecting of round 3 and started again. Holds the job to completing with the
# second participant among the survivors of every round, and the losses to what a sum under right masks gives. A second job
# trains a network of 70 401 parameters, so that models and updates are longer than one piece. In a third and a fourth job of one
# round it cheats: it deals one member a box that does not open, a participant of this repository's and then another of its own kind,
# which complain. Holds the jobs to completing without them and long before the deadline, and the log to a record against the dealer.
#
#   scripts/second_participant.sh [ROUNDS]        5 rounds by default, 4 at least
#
# Needs python3 with venv, what scripts/second_participant/requirements.txt names (installed into target/second_participant) and
# the built program (CONSORT, default target/release/consort). KEEP=DIR keeps everything.
# `--optional` first: exit status 0, with the reason, where python3 cannot make the environment.
set -euo pipefail
cd "$(dirname "$0")/.."

export PYTHONDONTWRITEBYTECODE=1
readonly SECOND=clinic-5
# Whom it cheats, and when: the last is a participant of its own kind by then.
readonly CHEATED=(clinic-1 clinic-4)
# Half seconds: as long as the second job may collect.
readonly PATIENCE=1200

main() {
    optional=no
    if [ "${1:-}" = --optional ]; then
        optional=yes
        shift
    fi
    rounds=${1:-5}
    consort=${CONSORT:-target/release/consort}
    [ -x "$consort" ] || cannot "$consort is not built; cargo build --release builds it"
    work=${KEEP:-$(mktemp -d)}
    mkdir -p "$work"
    started=()
    trap stop EXIT
    install
    found
    run
    check
}

cannot() {
    echo "second_participant.sh cannot run: $1" >&2
    [ "${optional}" = yes ] && exit 0
    exit 1
}

# Ends what this script started, shows the end of the logs after a failure, and removes the folder.
stop() {
    local status=$? process
    for process in "${started[@]}"; do
        kill "$process" 2>/dev/null || true
    done
    for process in "${started[@]}"; do
        wait "$process" 2>/dev/null || true
    done
    if [ "$status" != 0 ]; then
        tail -n 30 "$work"/*.log >&2 || true
    fi
    [ -n "${KEEP:-}" ] || rm -rf "$work"
}

# The environment, unless it has these very versions.
install() {
    local venv=target/second_participant wanted=scripts/second_participant/requirements.txt
    python=$venv/bin/python
    if ! cmp -s "$wanted" "$venv/requirements.txt"; then
        rm -rf "$venv"
        python3 -m venv "$venv" >/dev/null 2>&1 || cannot 'python3 makes no virtual environment here'
        "$python" -m pip install --quiet --disable-pip-version-check -r "$wanted" || {
            rm -rf "$venv"
            cannot 'pip cannot install what requirements.txt names'
        }
        cp "$wanted" "$venv/requirements.txt"
    fi
}

# The files of five clinics, from a demo of one round; then a second job of ROUNDS rounds, with a budget for it.
found() {
    local member
    folder=$work/consortium
    "$consort" demo --members 5 --rounds 1 --json --dir "$folder" >"$work/demo.json" || {
        cat "$work/demo.json" >&2
        exit 1
    }
    for member in "$folder"/*/consent.toml; do
        sed -i -E 's/^max_epsilon_lifetime = .*/max_epsilon_lifetime = 10.0/' "$member"
    done
    sed -E "s/(\"rounds\": *)[0-9]+/\1$rounds/" "$folder/job.json" >"$work/job.json"
    python3 - "$folder/job.json" "$work/wide.json" "$work/one.json" <<'PY'
import json, sys
job = json.load(open(sys.argv[1]))
one = json.loads(json.dumps(job))
one["dp_fedsgd"]["rounds"] = 1
json.dump(one, open(sys.argv[3], "w"))
job["model"] |= {"layers": [{"dense": {"outputs": 3200}}, "relu", {"dense": {"outputs": 1}}], "seed": "5e" * 32}
job["dp_fedsgd"] |= {"rounds": 2, "learning_rate": 0.01}
job["deadlines"]["collecting_ms"] = 600_000
json.dump(job, open(sys.argv[2], "w"))
PY
}

run() {
    local member id coordinator clinic fourth
    serve coordinator coordinator --dangerous-crash-at mid-collecting@3
    coordinator=${started[-1]}
    serve participant clinic-1 --dangerous-crash-at mid-upload@2
    clinic=${started[-1]}
    for member in 2 3 4; do
        serve participant "clinic-$member"
    done
    fourth=${started[-1]}
    uplink "$SECOND"
    independent "$SECOND" second --jobs 2
    second=${started[-1]}
    address=$(sed -n -E 's/^operators_address = "(.*)"$/\1/p' "$folder/coordinator/config.toml")
    said "$work/coordinator.log" 's/.*the coordinator serves.*/yes/p' >/dev/null
    operate job submit --json --job "$work/job.json" >"$work/submitted.json"
    id=$(field "$work/submitted.json" 'd["id"]')
    dies "$clinic" clinic-1
    serve participant clinic-1
    dies "$coordinator" coordinator
    serve coordinator coordinator
    ends "$id"
    mv "$work/job-shown.json" "$work/first.json"
    operate job submit --json --job "$work/wide.json" >"$work/submitted.json"
    ends "$(field "$work/submitted.json" 'd["id"]')"
    mv "$work/job-shown.json" "$work/wide-shown.json"
    wait "$second" || {
        echo "the second participant failed" >&2
        exit 1
    }
    cheats "${CHEATED[0]}"
    kill "$fourth"
    wait "$fourth" || true
    uplink "${CHEATED[1]}"
    independent "${CHEATED[1]}" cheated --jobs 1
    cheats "${CHEATED[1]}"
}

# cheats NAME: a job of one round in which the second participant deals this member a wrong box.
cheats() {
    independent "$SECOND" "cheats-$1" --jobs 1 --dangerous-wrong-box-for "$1"
    operate job submit --json --job "$work/one.json" >"$work/submitted.json"
    ends "$(field "$work/submitted.json" 'd["id"]')"
    mv "$work/job-shown.json" "$work/cheated-$1.json"
    wait "${started[-1]}"
}

# uplink NAME: for a participant of another kind.
uplink() {
    "$consort" uplink --config "$folder/$1/config.toml" --dangerous-local 0 >"$work/uplink-$1.log" 2>&1 &
    started+=($!)
}

# independent NAME LOG OPTIONS...
independent() {
    local name=$1 log=$2 port
    shift 2
    port=$(said "$work/uplink-$name.log" 's/.*the uplink listens.*address=127\.0\.0\.1:([0-9]+).*/\1/p')
    "$python" scripts/second_participant/participant.py --config "$folder/$name/config.toml" \
        --uplink "127.0.0.1:$port" "$@" >"$work/$log.log" 2>&1 &
    started+=($!)
}

# serve ROLE NAME OPTIONS...
serve() {
    local role=$1 name=$2
    shift 2
    "$consort" "$role" serve --config "$folder/$name/config.toml" "$@" >>"$work/$name.log" 2>&1 &
    started+=($!)
}

# dies PROCESS NAME: the daemon kills itself where it was told to.
dies() {
    local _
    for _ in $(seq "$PATIENCE"); do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.5
    done
    echo "$2 was to be killed in its round and lives" >&2
    exit 1
}

# ends JOB: leaves its last view in job-shown.json.
ends() {
    local _
    for _ in $(seq "$PATIENCE"); do
        if operate job show --json "$1" >"$work/job-shown.json" 2>/dev/null; then
            case $(field "$work/job-shown.json" 'd["state"]') in
            voting | running) ;;
            *) return 0 ;;
            esac
        fi
        sleep 0.5
    done
    echo "job $1 does not end" >&2
    exit 1
}

# said FILE EXPRESSION: what sed finds in a log, within thirty seconds.
said() {
    local found
    for _ in $(seq 150); do
        found=$(sed 's/\x1b\[[0-9;]*m//g' "$1" | sed -n -E "$2" | head -n 1)
        if [ -n "$found" ]; then
            echo "$found"
            return
        fi
        sleep 0.2
    done
    echo "$1 never said $2" >&2
    return 1
}

operate() {
    access=(--coordinator "https://$address" --ca "$folder/coordinator/tls/cert.pem"
        --token-file "$folder/coordinator/operator.token")
    "$consort" "$@" "${access[@]}"
}

field() {
    python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"
}

check() {
    python3 - "$work/first.json" "$SECOND" "$rounds" <<'PY'
import json, sys
job, second, rounds = json.load(open(sys.argv[1])), sys.argv[2], int(sys.argv[3])
assert job["state"] == "completed", job
assert len(job["rounds"]) == rounds, job["rounds"]
for number, summary in enumerate(job["rounds"], 1):
    expected = [f"clinic-{i}" for i in range(1, 6) if (i, number) != (1, 2)]
    assert summary["survivors"] == expected and second in expected, summary
    # A loss lies between 0 and 2 before its noise; what is left of a wrong mask lies anywhere within some tens, and in four
    # rounds hardly ever here.
    assert -1 < summary["noised_loss"] < 3, summary
assert job["coordinator_restarts"] == 1, job
print(f"{job['id']} completed: {second} is among the survivors of each of {rounds} rounds, four of them in round 2")
PY
    python3 - "$work/wide-shown.json" "$SECOND" <<'PY'
import json, sys
job, second = json.load(open(sys.argv[1])), sys.argv[2]
assert job["state"] == "completed", job
for summary in job["rounds"]:
    assert len(summary["survivors"]) == 5 and -1 < summary["noised_loss"] < 3, summary
print(f"{job['id']} completed: {second} trained the network too")
PY
    for cheated in "${CHEATED[@]}"; do
        python3 - "$work/cheated-$cheated.json" "$SECOND" "$cheated" "$work/one.json" <<'PY'
import json, sys
(job, deadlines), second, cheated = (json.load(open(sys.argv[i])) for i in (1, 4)), sys.argv[2], sys.argv[3]
assert job["state"] == "completed", job
[summary] = job["rounds"]
assert summary["survivors"] == [f"clinic-{i}" for i in range(1, 6) if f"clinic-{i}" != cheated], summary
assert -1 < summary["noised_loss"] < 3, summary
convicted = {member["organisation"]: member["convicted_of"] for member in job["members"] if member.get("convicted_of")}
assert convicted == {second: "wrong-box"}, convicted
collected, deadline = summary["phase_ms"]["collecting"], deadlines["deadlines"]["collecting_ms"]
assert 2 * collected < deadline, summary
print(f"{job['id']} completed without {cheated}, which complained of {second}; collecting took {collected} ms of {deadline}")
PY
    done
    if grep -E 'refuses' "$work/second.log"; then
        echo 'the second participant refused something or was refused' >&2
        exit 1
    fi
    "$consort" audit verify "$folder/coordinator/state/audit" | tee "$work/verified.txt"
    [ "$(grep -c "$SECOND is convicted of a wrong-box" "$work/verified.txt")" = "${#CHEATED[@]}" ] || {
        echo "the log does not convict $SECOND of both boxes" >&2
        exit 1
    }
}

main "$@"
