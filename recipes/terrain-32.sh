#!/usr/bin/env sh
# A flow of heightmaps 32 x 32, or of heightmaps with their textures, sized for five minutes of two processor cores.
#
#     recipes/terrain-32.sh PART MAPS IDENTITIES OUTPUT [WORDS OF transflow train ...]
#     recipes/terrain-32.sh heights heights.tar - terrain-32.safetensors
#     recipes/terrain-32.sh pairs pairs.tar - terrain-pairs-32.safetensors
#
# PART is heights or pairs; MAPS a tar or folder of pictures, such as benchmarks/own_terrain.py and
# benchmarks/beside/pairs.py write. A pair is one grey picture of 64 x 64 whose blocks of 2 x 2 are height, red, green and
# blue of a place: the flow's first squeeze makes them four channels, so it is a flow of pairs without being written for
# them. IDENTITIES is - here: maps have no groups. The same command goes on with a run that was stopped.
begin="--family glow --grey --bits 8 --held-out 0.13 --batch 32 --outliers 0.01"
each="--minutes 5"
case "${1:-}" in
heights) begin="$begin --size 32 --width 64,96,128 --steps 8,8,8" ;;
pairs) begin="$begin --size 64 --width 32,64,96,128 --steps 4,6,8,8 --no-flip" ;;
*) set -- ;;
esac
if [ $# -gt 0 ]; then shift; fi
. "$(dirname "$0")/train.sh"
