# What the recipes share, and read in: their words, and going on with a run that was stopped.
# begin: words of transflow train for a new run; each: for every call. Words of the user come last, and win.
# shellcheck shell=sh disable=SC2086,SC2154  # begin, each and TRANSFLOW are words, and set by who reads this in
set -eu
if [ $# -lt 3 ]; then
    sed -n '2,/^begin=/s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
photos=$1 identities=$2 output=$3
shift 3
if [ -f "${output%.safetensors}.training.safetensors" ]; then
    set -- --resume "$@"
else
    set -- $begin "$@"
fi
case " $* " in *" --epochs "*) each=$(echo "$each" | sed 's/--minutes [0-9]*//') ;; esac
if [ "$identities" != - ]; then set -- --groups "$identities" "$@"; fi
exec ${TRANSFLOW:-transflow} train "$photos" -o "$output" $each "$@"
