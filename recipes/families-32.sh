#!/usr/bin/env sh
# A 32 x 32 model of one family, whose latent is of 64 numbers: vae, wae, autoencoder or bigan.
#
#     recipes/families-32.sh FAMILY PHOTOS IDENTITIES OUTPUT [WORDS OF transflow train ...]
#     recipes/families-32.sh vae faces-64.tar faces-64.csv vae-32.safetensors
#
# PHOTOS is a tar or folder of photographs aligned so that the eyes are a quarter of the width apart and centred at
# 45 % of the height; IDENTITIES a CSV of file name and identity: 13 % of the people are held out whole. A quarter of an
# hour is for two processor cores; the same command goes on with a run that was stopped. Later words win, so for a map of
# a latent of two numbers: recipes/families-32.sh vae ... --latent 2.
begin="--size 32 --latent 64 --held-out 0.13"
each="--minutes 15"
case "${1:-}" in
vae | wae | autoencoder | bigan) begin="--family $1 $begin" ;;
*) set -- ;;
esac
if [ $# -gt 0 ]; then shift; fi
. "$(dirname "$0")/train.sh"
