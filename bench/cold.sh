#!/usr/bin/env bash
# Measures make run from a clean clone with an empty build cache to a console
# that answers, then a second start. Modules must be downloaded before.
set -euo pipefail
src=$(cd "$(dirname "$0")/.." && pwd)
dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; chmod -R u+w "$dir"; rm -rf "$dir"' EXIT
git clone -q "$src" "$dir/clone"
cd "$dir/clone"
export GOCACHE="$dir/cache" WARDEN_API_LISTEN=127.0.0.1:18680 WARDEN_GATEWAY_LISTEN=127.0.0.1:18681 WARDEN_ADMIN_LISTEN=off
start() {
  local began
  began=$(date +%s%N)
  "$@" >"$dir/out" 2>"$dir/err" &
  until curl -fs http://127.0.0.1:18680/ >/dev/null 2>&1; do
    sleep 0.05
    if [ $(($(date +%s%N) - began)) -gt 900000000000 ]; then cat "$dir/err"; exit 1; fi
  done
  echo "$(( ($(date +%s%N) - began) / 1000000 )) ms: $*"
  pkill -TERM -f "$dir/clone/bin/warden" 2>/dev/null || pkill -TERM -x warden || true
  wait || true
}
start make run
start ./bin/warden serve
