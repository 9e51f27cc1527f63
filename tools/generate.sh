#!/usr/bin/env bash
# tools/generate.sh [--check]: makes every generated file anew; with --check it only says which committed ones differ, and fails.
# A generator takes an output root as its one argument and writes its files below it at their places in the tree.
set -euo pipefail
cd "$(dirname "$0")/.."

stubs() { # the gRPC stubs and their types, in place beside the proto
  python -m grpc_tools.protoc -Iproto --python_out="$1/proto" --grpc_python_out="$1/proto" \
    --mypy_out=quiet:"$1/proto" --mypy_grpc_out=quiet:"$1/proto" proto/stowplan/predictor/v1/predictor.proto
}

generate() {
  mkdir -p "$1/proto"
  stubs "$1"
  for generator in tools/generators/*.py; do
    [ -e "$generator" ] || continue
    python "$generator" "$1"
  done
}

if [ "${1:-}" != --check ]; then
  generate .
  exit 0
fi

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
generate "$fresh"
differing=0
while IFS= read -r file; do
  if ! cmp -s "$fresh/$file" "$file"; then
    echo "generated file differs from what its generator makes: $file (run \`make generate\` and commit)" >&2
    differing=1
  fi
done < <(cd "$fresh" && find . -type f | sed 's#^\./##' | sort)
exit "$differing"
