#!/usr/bin/env bash
# Makes the tokens that docker-compose.yml hands to facering and Prometheus. The tokens themselves are printed once and
# kept only as SHA-256 in config/secrets/tokens.toml (Prometheus keeps its own in the clear, it has to send it).
set -euo pipefail
cd "$(dirname "$0")/.."
umask 077
mkdir -p config/secrets
[ ! -e config/secrets/tokens.toml ] || { echo "config/secrets/tokens.toml exists; delete it for new tokens" >&2; exit 1; }

new_token() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }
hash_of() { printf %s "$1" | sha256sum | cut -d' ' -f1; }

prometheus=$(new_token)
analyst=$(new_token)
printf %s "$prometheus" >config/secrets/prometheus_token
cat >config/secrets/tokens.toml <<EOF
[[token]]
name = "prometheus"
role = "reader"
sha256 = "$(hash_of "$prometheus")"

[[token]]
name = "analyst"
role = "analyst"
sha256 = "$(hash_of "$analyst")"
EOF
# The container runs as another user and must be able to read them.
chmod 644 config/secrets/tokens.toml config/secrets/prometheus_token
echo "The analyst's token (shown once): $analyst"
