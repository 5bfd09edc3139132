#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_SECONDS, beginning with the seeds in corpus/. What it finds on the
# way stays in growth/, which git ignores; what crashes a target, in artifacts/.
#
# Without a sanitizer: the product forbids unsafe code, and so the stable toolchain is enough.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-60}
# 5 million in six minutes: less means that a target has become slow, or does nothing.
wanted=$((5000000 * seconds / 60))

cargo fuzz build --sanitizer none
total=0
for target in $(cargo fuzz list); do
    case $target in
        cursor | prelude) max_len=1024 ;; # A short one can be as wrong as a long one.
        *) max_len=4096 ;;
    esac
    mkdir -p "fuzz/growth/$target"
    log=fuzz/growth/$target.log
    options=(-max_total_time="$seconds" -max_len=$max_len -timeout=5 -rss_limit_mb=512
        -dict="fuzz/dictionaries/$target.txt" -print_final_stats=1)
    if ! cargo fuzz run --sanitizer none "$target" "fuzz/growth/$target" "fuzz/corpus/$target" \
        -- "${options[@]}" >"$log" 2>&1; then
        tail -n 60 "$log"
        echo "$target: crashed; the input that did it is named above" >&2
        exit 1
    fi
    stat() { sed -n "s/^stat::$1: *//p" "$log"; }
    executions=$(stat number_of_executed_units)
    printf '%-12s %10d executions, peak %4d MB\n' "$target" "$executions" "$(stat peak_rss_mb)"
    total=$((total + executions))
done
printf '%-12s %10d executions\n' "in all" "$total"
if ((total < wanted)); then
    echo "too few executions: $wanted are needed" >&2
    exit 1
fi
