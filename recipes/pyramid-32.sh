#!/usr/bin/env sh
# A 32 x 32 pyramid of a Glow of 16 x 16 and a level of details, in a quarter of an hour of two processor cores.
#
#     recipes/pyramid-32.sh PART PHOTOS IDENTITIES OUTPUT [WORDS OF transflow train ...]      PART: base or details
#
#     recipes/pyramid-32.sh base    faces-64.tar faces-64.csv base.safetensors
#     recipes/pyramid-32.sh details faces-64.tar faces-64.csv details.safetensors
#     transflow stack base.safetensors details.safetensors -o pyramid-32.safetensors
#
# PHOTOS and IDENTITIES are as for recipes/families-32.sh. The parts know nothing of each other.
begin="--bits 8 --held-out 0.13 --outliers 0.01"
case "${1:-}" in
base) begin="$begin --size 16 --steps 8,8 --width 96,128 --batch 32" each="--minutes 10" ;;
details) begin="$begin --family details --size 32 --crop 32 --batch 32 --warmup 50" each="--minutes 5" ;;
*) set -- ;;
esac
if [ $# -gt 0 ]; then shift; fi
. "$(dirname "$0")/train.sh"
