#!/bin/sh
# The committed .pb.c and .pb.h are what the generator makes of the .proto.
exec "$(dirname "$0")/regen.sh" --check
