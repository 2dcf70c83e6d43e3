#!/bin/sh
# Makes configure and Makefile.in from their sources.
set -e
cd "$(dirname "$0")"
autoreconf --install --force --warnings=all,no-obsolete
# configure removes core dumps as it goes, and takes core/ for one: it would complain thirty times
sed 's/rm -f core /rm -f /' configure > configure.new
cat configure.new > configure
rm configure.new
