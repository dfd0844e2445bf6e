#!/usr/bin/env bash
# Submits a training, waits for it, downloads the model and checks it: HTTP alone.
#
#   submit_and_download.sh DATASET [OUTPUT.onnx]
#
# Needs curl, python3 (to read JSON) and sha256sum. The service is the one that HEIMDALL_URL and
# HEIMDALL_API_KEY name, else the one that `heimdall up` runs in HEIMDALL_HOME (default ~/.heimdall).
# BACKBONE (default micro) and EPOCHS (default 10) shape the training.
set -euo pipefail

dataset=${1:?usage: submit_and_download.sh DATASET [OUTPUT.onnx]}
output=${2:-model.onnx}
home=${HEIMDALL_HOME:-$HOME/.heimdall}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# field NAME... < JSON: a nested member, or nothing where it is null or absent.
field() {
    python3 -c '
import json, sys
value = json.load(sys.stdin)
for name in sys.argv[1:]:
    value = value.get(name) if isinstance(value, dict) else None
print("" if value is None else value)' "$@"
}

url=${HEIMDALL_URL:-$(field url <"$home/state.json")}
key=${HEIMDALL_API_KEY:-$(cat "$home/api-key")}
# By a file, in a folder that only its owner can read: a command line is for everybody to see.
printf 'Authorization: Bearer %s\n' "$key" >"$work/authorization"

# call EXPECTED-STATUS... -- CURL-ARGUMENTS...: the answer goes to $work/body, its headers to $work/headers.
call() {
    local expected=" "
    while [ "$1" != -- ]; do
        expected+="$1 "
        shift
    done
    shift
    status=$(curl --silent --show-error --noproxy 127.0.0.1,localhost --max-time 60 \
        --header "@$work/authorization" --dump-header "$work/headers" --output "$work/body" \
        --write-out '%{http_code}' "$@")
    if [[ $expected != *" $status "* ]]; then
        echo "HTTP $status: $(cat "$work/body")" >&2
        exit 1
    fi
}

# Submit. With the same Idempotency-Key the request may be sent again: it makes one job.
python3 -c '
import json, sys
dataset, backbone, epochs = sys.argv[1:]
print(json.dumps({
    "kind": "train",
    "dataset": {"name": dataset},
    "model": {"name": "localization", "backbone": backbone},
    "training": {"epochs": int(epochs)},
}))' "$dataset" "${BACKBONE:-micro}" "${EPOCHS:-10}" >"$work/spec.json"
call 202 -- --request POST "$url/v1/jobs" --data @"$work/spec.json" --header 'Content-Type: application/json' \
    --header "Idempotency-Key: \"example-$$-$(date +%s)\""
job=$(field id <"$work/body")
echo "submitted $job"

# Poll. An unchanged job costs a 304 without a body.
etag='' polls=0 unchanged=0 terminal=''
until [ "$terminal" = True ]; do
    sleep 1
    call 200 304 -- "$url/v1/jobs/$job" --header "If-None-Match: $etag"
    polls=$((polls + 1))
    if [ "$status" = 304 ]; then
        unchanged=$((unchanged + 1))
        continue
    fi
    etag=$(sed -n 's/^[Ee][Tt][Aa][Gg]: *//p' "$work/headers" | tr -d '\r')
    terminal=$(field is_terminal <"$work/body")
    echo "$(field status <"$work/body") $(field phase <"$work/body") $(field progress percent <"$work/body")"
done
echo "$polls polls, $unchanged of them 304"
if [ "$(field status <"$work/body")" != succeeded ]; then
    echo "$(field error code <"$work/body"): $(field error message <"$work/body")" >&2
    exit 1
fi

# Download by a presigned URL, which takes no key, and check what came.
name=$(field result model name <"$work/body")
version=$(field result model version <"$work/body")
call 200 -- "$url/v1/models/$name/versions/$version"
sha256=$(field onnx sha256 <"$work/body")
curl --silent --show-error --fail --noproxy 127.0.0.1,localhost --output "$work/model.onnx" \
    "$(field onnx download_url <"$work/body")"
echo "$sha256  $work/model.onnx" | sha256sum --check --status
mv "$work/model.onnx" "$output"
echo "$output is $name version $version, sha256 $sha256"
printf 'median error on the test split: %.0f m\n' "$(field metrics median_error_m <"$work/body")"
