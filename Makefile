# SPDX-License-Identifier: MIT
# The front door. `make demo` and `make check` do everything from a bare Debian 12 checkout;
# `make help` lists the rest. The build itself is meson's.

BUILD := build
SANITIZED := build-sanitized
FUZZED := build-fuzz

# Many tests wait more than they compute.
TESTS_AT_ONCE := $(shell expr $$(nproc) + 2)

.PHONY: all help packages build demo check test sanitize build-sanitizers test-sanitizers vm-test \
        system-test fuzz fuzz-smoke build-fuzzers lint format soak kernels qemu device bundle clean

all: build

help:
	@echo "make demo      two virtual machines share one GPU, about 2 minutes"
	@echo "make check     every test, under sanitizers too, and lint: 10 to 15 minutes"
	@echo "make build     build everything into $(BUILD)/"
	@echo "make test      unit and integration tests only"
	@echo "make system-test  the service under a real systemd, in a VM: about 2 minutes"
	@echo "make qemu      a QEMU with the device in tree, from Debian's source"
	@echo "make bundle    the demo as one archive for a machine without a network"
	@echo "make fuzz      fuzzers of PTX, images and records for 10 minutes in all (clang)"
	@echo "make soak      30 channels on one mediator for an hour: leaks, losses, counters"
	@echo "make lint      clang-format, cppcheck and clang-tidy"
	@echo "make format    rewrite the sources as clang-format wants them"
	@echo "make kernels   remake the committed PTX (needs nvcc)"

packages:
	@scripts/packages
	@scripts/cuda-headers

$(BUILD)/build.ninja: | packages
	meson setup $(BUILD) --buildtype=debugoptimized

# Compiled for less than half the time that optimizing takes here; warnings are the other build's.
$(SANITIZED)/build.ninja: | packages
	meson setup $(SANITIZED) --buildtype=debugoptimized -Doptimization=g -Db_sanitize=address,undefined \
	    -Db_lundef=false -Dwerror=false -Dc_args='-w -g1 -fno-sanitize-recover=undefined'

build: packages $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet

device: build
	@device/build-device $(BUILD)/device

demo: build device
	@demo/run $(BUILD)

test: build
	@meson test -C $(BUILD) --no-rebuild --print-errorlogs --num-processes $(TESTS_AT_ONCE) \
	    --no-suite vm --no-suite system

vm-test: build device
	@meson test -C $(BUILD) --no-rebuild --print-errorlogs --suite vm --logbase testlog-vm

system-test: build
	@meson test -C $(BUILD) --no-rebuild --print-errorlogs --suite system --logbase testlog-system

build-sanitizers: packages $(SANITIZED)/build.ninja
	@ninja -C $(SANITIZED) --quiet

# The virtual machines too: guests, mediator and workers are sanitized there. QEMU and the device in
# it are not, and are those of the other build. What measures, or reads documents, finds there what
# it found before; what LLVM has made of kernels is not sanitized, and the translation to it is run
# by soft-jit and the random kernels. Tests of the suite `once` repeat others in other surroundings.
test-sanitizers: device
	@mkdir -p $(SANITIZED)/device && cp -a $(BUILD)/device/. $(SANITIZED)/device/
	@device/build-device $(SANITIZED)/device
	@meson test -C $(SANITIZED) --no-rebuild --print-errorlogs --num-processes $(TESTS_AT_ONCE) \
	    --no-suite bench --no-suite docs --no-suite system --no-suite compiled --no-suite once

sanitize: build-sanitizers
	@$(MAKE) --no-print-directory test-sanitizers

# What only computes is done in the time that tests leave to it.
check: build
	@MAKE="$(MAKE)" scripts/check
	@scripts/test-summary $(BUILD) $(SANITIZED)

# Each of the three has its third of 10 minutes.
fuzz: packages
	@fuzz/run $(FUZZED) 200

build-fuzzers: packages
	@fuzz/run $(FUZZED) 0 || [ $$? = 77 ]

# Without clang's libFuzzer there is nothing to run, which it says.
fuzz-smoke: packages
	@fuzz/run $(FUZZED) 5 || [ $$? = 77 ]

# As root each channel is a tenant of its own. SOAK_SECONDS=600 SOAK_CHANNELS=8 is the small one.
SOAK_SECONDS := 3600
SOAK_CHANNELS := 30
soak: build
	@tests/soak/run $(BUILD) --seconds $(SOAK_SECONDS) --channels $(SOAK_CHANNELS)

lint: build
	@scripts/lint $(BUILD)

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

kernels:
	@scripts/kernels

qemu: packages
	@device/build-qemu $(BUILD)/qemu

bundle: build device
	@mkdir -p $(BUILD)/bundle
	@demo/make-initramfs $(BUILD) $(BUILD)/bundle/initramfs
	@tests/vm/make-initramfs $(BUILD)/bundle/probe /dev/null
	@scripts/bundle $(BUILD)

clean:
	rm -rf $(BUILD) $(SANITIZED) $(FUZZED) build-programs
