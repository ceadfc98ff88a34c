#!/bin/bash
# Adds up this task's share of 1/k² for k = 1 … TERMS, in ten parts. Usage: share.sh TERMS
# The container's Python has tony_task, for programs in other languages as a command.
set -euo pipefail
terms=$1
sum=0
for part in $(seq 0 9); do
  sum=$(awk -v terms="$terms" -v part="$part" -v index_="$TONY_TASK_INDEX" -v count="$TONY_TASK_COUNT" -v sum="$sum" '
    BEGIN {
      for (k = 1 + index_ + part * count; k <= terms; k += 10 * count) sum += 1 / (k * k)
      printf "%.15f", sum
    }')
  python -m tony_task report --step $((part + 1)) --total 10 --message "part $part: $sum"
done
echo "$sum" > share
python -m tony_task save-output "share-$TONY_TASK_INDEX" share
