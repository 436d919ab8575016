#!/usr/bin/env sh
# A Glow of 64 x 64 faces at 5 bits a pixel, four levels, 17.1 million parameters, a file of 35 MB; the bundled faces-64
# is another model, faces-128 stopped a level lower.
#
#     recipes/faces-64.sh PHOTOS IDENTITIES OUTPUT [WORDS OF transflow train ...]
#     recipes/faces-64.sh faces-64.tar faces-64.csv faces-64.safetensors
#
# PHOTOS is a tar or folder of photographs aligned so that the eyes are a quarter of the width apart and centred at
# 45 % of the height; IDENTITIES a CSV of file name and identity: 13 % of the people are held out whole.
#
# Sized for half an hour of one H100 in slices of ten minutes: each call trains for nine minutes by the clock, writes,
# and stops; the same command goes on, until 24 minutes of training are done. Later words win, so on a processor:
#
#     recipes/faces-64.sh faces-64.tar faces-64.csv faces-64.safetensors --minutes 1440 --stop-after 60 --batch 32 --device cpu
#
# and with eight GPUs: TRANSFLOW="torchrun --nproc_per_node 8 -m transflow" recipes/faces-64.sh ...
begin="--size 64 --steps 16,16,16,12 --width 192,256,320,384 --batch 128 --held-out 0.13 --outliers 0.01"
each="--minutes 24 --stop-after 9 --device cuda"
. "$(dirname "$0")/train.sh"
