#!/bin/sh
# Writes .env (or the file named) from .env.example, with random secrets. Never touches one that exists.
set -eu
target=${1:-.env}
example=$(dirname "$0")/../.env.example
umask 077

# NUM hexadecimal digits: safe in URLs.
random() {
    od -An -v -tx1 -N "$(($1 / 2))" /dev/urandom | tr -d ' \n'
}

fill() {
    sed -e "s/^POSTGRES_PASSWORD=$/&$(random 48)/" \
        -e "s/^REDIS_PASSWORD=$/&$(random 48)/" \
        -e "s/^HEIMDALL_STORAGE__ACCESS_KEY_ID=$/&heimdall$(random 8)/" \
        -e "s/^HEIMDALL_STORAGE__SECRET_ACCESS_KEY=$/&$(random 40)/" \
        -e "s/^HEIMDALL_BOOTSTRAP_KEY=$/&hmd_$(random 40)/" \
        -e "s/^HEIMDALL_WEBHOOKS__SECRET_KEY=$/&$(random 64)/" \
        -e "s/^HEIMDALL_WORKER_NAME=$/&worker@$(uname -n)/" \
        "$example"
}

if [ -e "$target" ]; then
    echo "error: $target exists; its secrets may be in use, so it is left as it is" >&2
    exit 1
fi
fill > "$target.unfinished"
mv "$target.unfinished" "$target"
echo "$target written, for its owner alone. Set HEIMDALL_STORAGE__PUBLIC_ENDPOINT_URL in it to the address"
echo "at which callers reach S3, and keep HEIMDALL_BOOTSTRAP_KEY: it is the first administrator's API key."
