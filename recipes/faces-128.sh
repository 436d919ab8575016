#!/usr/bin/env sh
# faces-128: a pyramid of 128 x 128 faces: a flow-matching base of 32 x 32, and levels of details of 64 and of 128.
#
#     recipes/faces-128.sh PART PHOTOS IDENTITIES OUTPUT [WORDS OF transflow train ...]      PART: base, 64 or 128
#
#     recipes/faces-128.sh base faces-128.tar faces-64.csv base.safetensors
#     recipes/faces-128.sh 64   faces-128.tar faces-64.csv level-64.safetensors
#     recipes/faces-128.sh 128  faces-128.tar faces-64.csv level-128.safetensors
#     transflow stack base.safetensors level-64.safetensors level-128.safetensors -o faces-128.safetensors
#
# PHOTOS is a tar or folder of photographs of 128 x 128 or more, aligned so that the eyes are a quarter of the width
# apart and centred at 45 % of the height; IDENTITIES a CSV of file name and identity: 13 % of the people are held out
# whole, the same ones for each part. The parts know nothing of each other, so they can be trained in any order, or at
# the same time. Half of the crops of 64 have grey levels between whole ones, as averages of larger pictures have.
#
# The budgets are for one GPU; the same command goes on with a run that was stopped. Later words win, so on a processor:
#
#     recipes/faces-128.sh 64 faces-128.tar faces-64.csv level-64.safetensors --minutes 90 --stop-after 90 --device cpu
begin="--held-out 0.13 " each="--stop-after 9 --device cuda "
base="--family flow-matching --size 32 --width 96,192,320 --batch 1024 --learning-rate 1e-3 --warmup 300"
level="--family details --batch 64 --learning-rate 3e-3 --outliers 0.01"
case "${1:-}" in
base) begin="$begin $base" each="$each --minutes 12" ;;
64) begin="$begin $level --size 64 --whole 0.5" each="$each --minutes 12" ;;
128) begin="$begin $level --size 128 --crop 64" each="$each --minutes 12" ;;
*) set -- ;;
esac
if [ $# -gt 0 ]; then shift; fi
. "$(dirname "$0")/train.sh"
