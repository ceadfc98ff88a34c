#!/usr/bin/env bash
# Says how much a fresh machine is about to download, before anything is downloaded.
# usage: announce.sh fast|full VENV
set -euo pipefail
here=$(dirname "$0")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/yarnmill
size() { awk -v key="$1_mib:" '$1 == key {print $2}' "$here/downloads.yaml"; }
total=0
parts=()
need() { total=$((total + $2)); parts+=("$1 $2 MiB"); }
[ -e "$2/.complete" ] || need "platform" "$(size platform)"
compgen -G "$cache/hadoop-*/lib" >/dev/null || need "Hadoop" "$(size hadoop)"
if [ "$1" = full ] && ! compgen -G "$cache/environments/training-*/complete" >/dev/null; then
  need "TensorFlow and PyTorch" "$(size training)"
fi
if [ "$total" -eq 0 ]; then
  echo "everything is at hand: nothing to download"
else
  printf 'about to download %s MiB at most:' "$total"
  printf ' %s;' "${parts[@]}"
  printf ' what the user cache already holds is not fetched again\n'
fi
