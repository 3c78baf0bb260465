# Short names for the long commands; everything is done by meson and tools/.
.DEFAULT_GOAL := build

help:		## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1: \2/p' Makefile

build:		## compile into build/
	@tools/setup build
	@test -e build/build.ninja || meson setup build
	@ninja -C build

demo:		## a guest burns two discs, the host verifies them
	@tools/setup demo
	@test -e build/build.ninja || meson setup build
	@ninja -C build
	@tools/demo

check:		## every test but the long ones; clang-tidy without its analyzer
	@tools/setup check
	@tools/check

check-full:	## every test, and all of clang-tidy
	@tools/setup all
	@tools/check full

sanitize:	## the tests under ASan, UBSan and TSan
	@tools/setup all
	@tools/check sanitize

bench:		## the figures, against peers in the same run
	@tools/setup all
	@test -e build-bench/build.ninja || meson setup --buildtype=release build-bench
	@ninja -C build-bench
	@bench/run build-bench

fuzz:		## fuzzers, a minute each (FUZZ_SECONDS=n)
	@tools/setup all
	@test -e build-fuzz/build.ninja || CC=clang meson setup -Dfuzz=true -Db_lundef=false build-fuzz
	@ninja -C build-fuzz
	@tests/fuzz/run build-fuzz

install: build	## into the system (DESTDIR is respected)
	@meson install -C build --no-rebuild

clean:		## remove build directories
	rm -rf build build-clang build-asan build-tsan build-bench build-fuzz

.PHONY: help build demo check check-full sanitize bench fuzz install clean
