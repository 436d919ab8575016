#!/usr/bin/env sh
# faces-32 by flows of other kinds, each sized for 15 minutes of two processor cores; none is in the package.
#
#     recipes/faces-32-flows.sh FAMILY PHOTOS IDENTITIES OUTPUT [WORDS OF transflow train ...]
#     recipes/faces-32-flows.sh real-nvp faces-64.tar faces-64.csv real-nvp.safetensors
#
# FAMILY is real-nvp, nice, tarflow or flow++. PHOTOS is a tar or folder of photographs aligned so that the eyes are a quarter of the width
# apart and centred at 45 % of the height; IDENTITIES a CSV of file name and identity: 13 % of the people are held out
# whole. The same command goes on with a run that was stopped.
begin="--family ${1:-} --size 32 --held-out 0.13 --outliers 0.01" each="--minutes 15"
case "${1:-}" in
nice) begin="$begin --width 1000 --depth 4 --steps 4" ;;
tarflow) begin="$begin --patch 4 --width 128 --head 32 --steps 4 --depth 2" ;;
flow++) begin="$begin --width 48 --depth 1 --components 4 --steps 4,2,3" ;;
real-nvp) begin="$begin --width 48,64,96 --steps 3 --depth 1" ;;
*) set -- ;;
esac
if [ $# -gt 0 ]; then shift; fi
. "$(dirname "$0")/train.sh"
