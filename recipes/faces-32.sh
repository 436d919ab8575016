#!/usr/bin/env sh
# faces-32, the model that comes with the package: a Glow of 32 x 32 faces at 5 bits a pixel (docs/faces-32.md).
#
#     recipes/faces-32.sh PHOTOS IDENTITIES OUTPUT [WORDS OF transflow train ...]
#
# PHOTOS is a tar or folder of photographs aligned by five landmarks so that the eyes are a quarter of the width apart
# and centred at 45 % of the height; IDENTITIES a CSV of file name and identity: 13 % of the people are held out whole.
# Three hours are for two processor cores; the same command goes on with a run that was stopped.
begin="--steps 10,10,10 --width 128,192,256 --batch 32 --held-out 0.13 --learning-rate 8e-4 --outliers 0.01"
each="--minutes 181"
. "$(dirname "$0")/train.sh"
