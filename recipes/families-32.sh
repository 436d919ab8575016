#!/usr/bin/env sh
# A 32 x 32 model of one family, sized for a quarter of an hour of two processor cores; none is in the package.
#
#     recipes/families-32.sh FAMILY PHOTOS IDENTITIES OUTPUT [WORDS OF transflow train ...]
#     recipes/families-32.sh vae faces-64.tar faces-64.csv vae-32.safetensors
#     recipes/families-32.sh nice mnist.tar - nice-mnist.safetensors --grey --no-flip --minutes 5
#
# FAMILY is glow, real-nvp, nice, flow++, tarflow, flow-matching, vae, wae, autoencoder, bigan or gan. PHOTOS is a tar or
# folder of pictures; faces aligned so that the eyes are a quarter of the width apart and centred at 45 % of the height.
# IDENTITIES is a CSV of file name and identity: 13 % of the people are held out whole; - holds out pictures. The
# same command goes on with a run that was stopped. Later words win, so for a map of a latent of two numbers:
# recipes/families-32.sh vae ... --latent 2. A pyramid is trained in parts: recipes/pyramid-32.sh.
begin="--family ${1:-} --size 32 --bits 8 --held-out 0.13"
each="--minutes 15"
case "${1:-}" in
glow) begin="$begin --width 64,96,128 --steps 8,8,8 --batch 32 --outliers 0.01" ;;
real-nvp) begin="$begin --width 48,64,96 --steps 3 --depth 1 --batch 32 --warmup 100 --outliers 0.01" ;;
nice) begin="$begin --width 1000 --depth 4 --steps 4 --outliers 0.01" ;;
flow++) begin="$begin --width 32 --depth 1 --components 4 --steps 2,1,2 --batch 32 --warmup 100 --outliers 0.01" ;;
tarflow) begin="$begin --patch 4 --width 128 --head 32 --steps 4 --depth 2 --batch 32 --warmup 100 --outliers 0.01" ;;
flow-matching) begin="$begin --width 64,128,192 --batch 32 --warmup 100" ;;
vae | wae | autoencoder | bigan | gan) begin="$begin --latent 64" ;;
*) set -- ;;
esac
if [ $# -gt 0 ]; then shift; fi
. "$(dirname "$0")/train.sh"
