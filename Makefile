# lockstep: `make help` lists the targets.  Options, each part of the build folder's name, so variants live side by side:
#   MPI=0|1 OMP=0|1 HDF5=0|1 DEBUG=0|1 WERROR=0|1 SAN=address|undefined|address+undefined|thread|fuzzer|fuzzer+address+undefined CC=... CROSS=aarch64 MUTANT=name FAULTS=0|1 V=1
MPI ?= 1
OMP ?= 1
DEBUG ?= 0
WERROR ?= 0
SAN ?=
CROSS ?=
HDF5 ?= $(if $(CROSS),0,1)
MUTANT ?=
FAULTS ?= 0
V ?= 0
prefix ?= /usr/local

define one_of
ifeq ($$(filter $(2),$$($(1))),)
$$(error $(1)=$$($(1)): allowed are $(2))
endif
endef
$(foreach flag,MPI OMP HDF5 DEBUG WERROR FAULTS V,$(eval $(call one_of,$(flag),0 1)))
ifneq ($(SAN),)
$(eval $(call one_of,SAN,address undefined address+undefined thread fuzzer fuzzer+address+undefined))
endif
ifneq ($(CROSS),)
$(eval $(call one_of,CROSS,aarch64))
$(eval $(call one_of,HDF5,0))
endif
ifneq ($(MUTANT),)
$(eval $(call one_of,MUTANT,float-reduction broken-tanh local-batchnorm))
endif

ifeq ($(origin CC),default)
CC := $(if $(CROSS),$(CROSS)-linux-gnu-)gcc
endif
empty :=
# The folder of these options, with $(1) for FAULTS and $(2) for MUTANT.
folder = $(patsubst %/,%,build/$(subst $(empty) ,-,$(strip $(if $(CROSS),$(CROSS)) $(if $(filter 0,$(MPI)),nompi) $(if $(filter 0,$(OMP)),noomp) \
	$(if $(CROSS),,$(if $(filter 0,$(HDF5)),nohdf5)) \
	$(if $(filter 1,$(DEBUG)),debug) $(1) $(SAN) $(2) $(if $(filter clang%,$(CC)),clang))))
BUILD ?= $(call folder,$(if $(filter 1,$(FAULTS)),faults),$(if $(MUTANT),mutant-$(MUTANT)))
# MUTANT and FAULTS reach few sources: only those are compiled in the folder of their own, all others in this one.
ORDINARY ?= $(if $(filter 1,$(FAULTS))$(MUTANT),$(call folder),$(BUILD))

VERSION := 0.1.0
CPPFLAGS += -Isrc -D_GNU_SOURCE -DLS_VERSION='"$(VERSION)"' -DLS_WITH_MPI=$(MPI)
warnings := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla
# -ffp-contract=off: what is written is what is computed.  The other two change no value: they let sqrt and fma be
# instructions and let loops with comparisons become vector code.
numerics := -ffp-contract=off -fno-math-errno -fno-trapping-math
CFLAGS ?= $(if $(filter 1,$(DEBUG)),-O1,-O3) -g
# Behind CFLAGS, so that no CFLAGS can switch contraction on.
all_cflags := -std=c17 $(warnings) $(if $(filter 1,$(WERROR)),-Werror) $(CFLAGS) $(numerics) -MMD -MP
comma := ,
ifneq ($(SAN),)
all_cflags += -fsanitize=$(subst fuzzer,fuzzer-no-link,$(subst +,$(comma),$(SAN))) -fno-omit-frame-pointer -fno-sanitize-recover=all
endif
ifeq ($(OMP),1)
all_cflags += -fopenmp
else
all_cflags += -Wno-unknown-pragmas
endif
ifneq ($(filter 1,$(FAULTS))$(MUTANT),)
ifeq ($(abspath $(BUILD)),$(abspath $(ORDINARY)))
$(error BUILD=$(BUILD) is where the ordinary objects are (ORDINARY=$(ORDINARY)): MUTANT and FAULTS need a folder of their own)
endif
endif
mutant_macro := $(if $(MUTANT),LS_MUTANT_$(shell echo '$(MUTANT)' | tr a-z- A-Z_))
ifneq ($(BUILD),$(ORDINARY))
touched := $(shell scripts/mentions.sh LS_BUILD $(if $(filter 1,$(FAULTS)),LS_WITH_FAULTS) $(mutant_macro))
ifneq ($(.SHELLSTATUS),0)
$(error scripts/mentions.sh failed)
endif
ifneq ($(mutant_macro),)
ifeq ($(shell scripts/mentions.sh $(mutant_macro)),)
$(error MUTANT=$(MUTANT): no source mentions $(mutant_macro))
endif
endif
endif
LDLIBS += -ldeflate -lxxhash -ljansson -lzip -lcsv -lz -lm
ifeq ($(MPI),1)
# Debian's mpicc only adds flags; asking it for them keeps one compiler for everything.
mpi_cflags := $(shell mpicc --showme:compile 2>/dev/null)
mpi_libs := $(shell mpicc --showme:link 2>/dev/null)
endif

ifeq ($(HDF5),1)
# Loaded by this name when a file of it is opened; only its headers are needed here.
hdf5_folder := $(patsubst -L%,%/,$(firstword $(shell pkg-config --libs-only-L hdf5 2>/dev/null)))
hdf5_name := $(shell readelf -d $(hdf5_folder)libhdf5.so 2>/dev/null | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
hdf5_cflags := $(shell pkg-config --cflags hdf5 2>/dev/null) -DLS_HDF5_LIBRARY='"$(or $(hdf5_name),libhdf5.so)"'
endif

hdf5_off := $(if $(filter 0,$(HDF5)),src/data/hdf5.c src/data/hdf5_array.c src/data/hdf5_library.c,src/data/hdf5_off.c)
comm_off := $(if $(filter 0,$(MPI)),$(wildcard src/comm/comm_mpi*.c))
faults_off := $(if $(filter 0,$(FAULTS)),src/base/fault.c)
sources := $(filter-out $(comm_off) $(hdf5_off) $(faults_off) src/compute/parallel/%,$(wildcard src/*/*.c src/compute/serial/*.c src/main.c))
kernels := $(wildcard src/compute/parallel/*.c)
target_cpu := $(if $(CROSS),$(CROSS),$(shell uname -m))
isas := portable $(if $(filter x86_64,$(target_cpu)),avx2 avx512)
isa_flags_portable :=
isa_flags_avx2 := -mavx2 -mfma -mtune=haswell
isa_flags_avx512 := -mavx512f -mavx512vl -mavx512dq -mavx512bw -mavx2 -mfma -mprefer-vector-width=512 -mtune=icelake-server

# The objects of sources under src, with $(2) behind their names, and of those under tests.
in_src = $(patsubst src/%.c,$(BUILD)/obj/%$(2).o,$(filter $(touched),$(1))) $(patsubst src/%.c,$(ORDINARY)/obj/%$(2).o,$(filter-out $(touched),$(1)))
in_tests = $(patsubst tests/%.c,$(BUILD)/tests/%.o,$(filter $(touched),$(1))) $(patsubst tests/%.c,$(ORDINARY)/tests/%.o,$(filter-out $(touched),$(1)))
objects := $(call in_src,$(sources)) $(foreach isa,$(isas),$(call in_src,$(kernels),-$(isa)))
library_objects := $(filter-out %/obj/main.o,$(objects))
say = $(if $(filter 0,$(V)),@printf '  %-7s %s\n' '$(1)' '$(patsubst $(BUILD)/%,%,$@)';)
quiet := $(if $(filter 0,$(V)),@)

TIME ?= 60
RUNS ?=
TARGET ?=
.PHONY: all help deps demo test test-unit sanitize valgrind test-aarch64 tsan fuzz fuzz-programs bench lint format clean install check-deps FORCE
.DELETE_ON_ERROR:
.SECONDARY:

all: check-deps ## Build the program, build/lockstep (the default)
	$(quiet)$(MAKE) --no-print-directory $(BUILD)/lockstep

check-deps:
	$(quiet)scripts/deps.sh build $(if $(filter 0,$(MPI)),nompi) $(if $(filter 0,$(HDF5)),nohdf5) $(CROSS)

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@sed -n '2,3s/^# */  /p' $(MAKEFILE_LIST)

$(BUILD)/lockstep: $(objects)
	$(call say,LINK)$(CC) $(all_cflags) $(LDFLAGS) -o $@ $(objects) $(mpi_libs) $(LDLIBS)

shell_quote = '$(subst ','\'',$(1))'
# No reader that is fuzzed runs a kernel, and clang takes many minutes to put sanitizers into the unrolled ones.
kernel_cflags := $(if $(filter fuzzer%,$(SAN)),$(filter-out -fsanitize=% -fno-sanitize%,$(all_cflags)),$(all_cflags))
# How objects come about in the folder $(1), with $(2) among the flags.
# A changed flag rebuilds everything: the stamp's content is the flags.  -Werror alone changes no object.
define compile_rules
$(1)/flags: text = $$(CC) $$(CPPFLAGS) $(2) $$(filter-out -Werror,$$(all_cflags)) $$(mpi_cflags) $$(hdf5_cflags) $$(foreach isa,$$(isas),$$(isa_flags_$$(isa)))
$(1)/flags: FORCE
	@mkdir -p $$(@D); printf '%s\n' $$(call shell_quote,$$(text)) | cmp -s - $$@ || printf '%s\n' $$(call shell_quote,$$(text)) > $$@
$(1)/obj/%.o: src/%.c $(1)/flags
	@mkdir -p $$(@D)
	$$(call say,CC)$$(CC) $$(CPPFLAGS) $$(all_cflags) $(2) $$(if $$(findstring comm_mpi,$$<),$$(mpi_cflags)) $$(if $$(findstring hdf5,$$<),$$(hdf5_cflags)) -c -o $$@ $$<
$(foreach isa,$(isas),$(call isa_rule,$(1),$(2),$(isa)))
$(1)/tests/%.o: tests/%.c $(1)/flags
	@mkdir -p $$(@D)
	$$(call say,CC)$$(CC) $$(CPPFLAGS) $$(all_cflags) $(2) $$(test_cflags) -DLS_BUILD='"$(1)"' -c -o $$@ $$<
# Bytes that .incbin reads are not seen by -MMD.
$(1)/obj/data/digits.o: src/data/digits.bin
endef
define isa_rule
$(1)/obj/%-$(3).o: src/%.c $(1)/flags
	@mkdir -p $$(@D)
	$$(call say,CC)$$(CC) $$(CPPFLAGS) -DLS_ISA=$(3) $$(kernel_cflags) $(2) $$(isa_flags_$(3)) -c -o $$@ $$<

endef
$(eval $(call compile_rules,$(ORDINARY),-DLS_WITH_FAULTS=0))
ifneq ($(BUILD),$(ORDINARY))
# A mutant's speed is nobody's concern, and this compiles kernels in a third of the time.
$(eval $(call compile_rules,$(BUILD),-DLS_WITH_FAULTS=$(FAULTS) $(if $(MUTANT),-D$(mutant_macro)=1 -O1 -g1)))
endif

# Tests: one Criterion program for units, one program for each multi-rank suite.
test_cflags := -Itests/support -DLS_WITH_HDF5=$(HDF5)
# tests/support/allocations.c, tests/support/bells.c
test_wraps := -Wl,--wrap=ls_alloc -Wl,--wrap=ls_bell_ring
$(BUILD)/unit-tests: $(call in_tests,$(wildcard tests/unit/*.c tests/support/*.c)) $(library_objects)
	$(call say,LINK)$(CC) $(all_cflags) $(test_wraps) $(LDFLAGS) -o $@ $^ $(mpi_libs) $(LDLIBS) -lcriterion
$(BUILD)/mpi-cases: $(call in_tests,$(wildcard tests/mpi/*.c tests/support/*.c)) $(library_objects)
	$(call say,LINK)$(CC) $(all_cflags) $(test_wraps) $(LDFLAGS) -o $@ $^ $(mpi_libs) $(LDLIBS)

# Fuzzing (tests/fuzz/README.md): a program for each target, and one without libFuzzer that replays the committed inputs.
fuzz_targets := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
fuzz_wraps := $(patsubst %,-Wl$(comma)--wrap=%,malloc calloc realloc aligned_alloc fopen)
ifneq ($(filter fuzzer%,$(SAN)),)
test_cflags += -DLS_LIBFUZZER
endif
$(BUILD)/library.a: $(library_objects)
	$(call say,AR)rm -f $@; ar rcs $@ $^
$(BUILD)/fuzz/%: $(ORDINARY)/tests/fuzz/fuzz_%.o $(ORDINARY)/tests/fuzz/fuzz.o $(BUILD)/library.a
	@mkdir -p $(@D)
	$(call say,LINK)$(CC) $(all_cflags) -fsanitize=fuzzer $(fuzz_wraps) $(LDFLAGS) -o $@ $^ $(mpi_libs) $(LDLIBS)
fuzz-programs: $(patsubst %,$(BUILD)/fuzz/%,$(fuzz_targets))
$(BUILD)/fuzz-replay: $(call in_tests,$(wildcard tests/fuzz/*.c)) $(BUILD)/library.a
	$(call say,LINK)$(CC) $(all_cflags) $(fuzz_wraps) $(LDFLAGS) -o $@ $^ $(mpi_libs) $(LDLIBS)

demo: ## Train on Fashion-MNIST with mpirun on all cores, then show the oracle's hash
	$(quiet)scripts/deps.sh demo
	$(quiet)$(MAKE) --no-print-directory build/lockstep
	$(quiet)scripts/demo.sh

test: ## Every test
	$(quiet)scripts/deps.sh test aarch64 sanitize valgrind
	$(quiet)scripts/test.sh

test-unit: ## The tests of the plain build, with the matrix of ranks, threads and ISAs
	$(quiet)scripts/deps.sh test
	$(quiet)scripts/test.sh unit
sanitize: ## The tests under AddressSanitizer and UBSan
	$(quiet)scripts/deps.sh test sanitize
	$(quiet)scripts/test.sh sanitize
valgrind: ## Short runs under valgrind
	$(quiet)scripts/deps.sh test valgrind
	$(quiet)scripts/test.sh valgrind
test-aarch64: ## The same bits from other processors, emulated
	$(quiet)scripts/deps.sh test aarch64
	$(quiet)scripts/test.sh aarch64
tsan: ## Data races, with clang and its OpenMP; not part of make test
	$(quiet)scripts/deps.sh test tsan
	$(quiet)scripts/test.sh tsan

lint: ## The contract's bans, formatting, layering: what a machine can check
	$(quiet)scripts/deps.sh build lint
	$(quiet)scripts/lint.sh

fuzz: ## Fuzz every reader: TIME=60 seconds each, or RUNS=10000000 inputs each; TARGET="idx net" for some
	$(quiet)scripts/deps.sh build fuzz
	$(quiet)TIME='$(TIME)' RUNS='$(RUNS)' scripts/fuzz.sh $(TARGET)

bench: ## Speed against this machine's peak, and PyTorch if it can be had
	$(quiet)scripts/deps.sh bench
	$(quiet)$(MAKE) --no-print-directory build/lockstep
	$(quiet)scripts/bench.sh

install: all ## Install the program and lockstep-run under $(DESTDIR)$(prefix)
	install -D -m 755 $(BUILD)/lockstep $(DESTDIR)$(prefix)/bin/lockstep
	install -D -m 755 scripts/lockstep-run $(DESTDIR)$(prefix)/bin/lockstep-run

clean: ## Remove everything built
	rm -rf build

format: ## Format all C sources in place
	@clang-format -i $(shell git ls-files '*.[ch]')


# The communication as it is, on simulated nodes: compiled by SimGrid's smpicc, without what computes.
sim_sources := $(wildcard sim/*.c) $(filter-out src/comm/add.c,$(wildcard src/comm/*.c)) $(patsubst %,src/base/%.c,status hash tree text decimal)
build/sim/sim: $(sim_sources) $(wildcard sim/*.h src/comm/*.h src/base/*.h)
	@mkdir -p $(@D)
	$(call say,SMPICC)smpicc -std=gnu17 -O2 -g -D_GNU_SOURCE -DLS_WITH_MPI=1 -DLS_WITH_FAULTS=0 \
		-I. -Isrc -include sim/smpi.h -o $@ $(sim_sources) -lxxhash -lm
.PHONY: sim
sim: ## Build the simulation of many nodes (SimGrid); scripts/simulate.py runs it
	$(quiet)scripts/deps.sh sim
	$(quiet)$(MAKE) --no-print-directory build/sim/sim

.PHONY: instructions
instructions: ## Instructions of fixed runs against those recorded (part of make test)
	$(quiet)scripts/deps.sh build valgrind
	$(quiet)$(MAKE) --no-print-directory build/lockstep
	$(quiet)scripts/instructions.sh

.PHONY: faults
faults: ## Flip 1,000 bits of each kind, and count what notices (about 3 minutes)
	$(quiet)scripts/deps.sh test
	$(quiet)$(MAKE) --no-print-directory FAULTS=1 build/faults/mpi-cases
	$(quiet)scripts/faults.sh

.PHONY: chaos
chaos: ## 50 runs killed at random moments and resumed on other ranks: the same bits (about 5 minutes)
	$(quiet)scripts/deps.sh build
	$(quiet)$(MAKE) --no-print-directory build/lockstep
	$(quiet)scripts/chaos.py --runs 50

.PHONY: out-of-core
out-of-core: ## Train on a file larger than memory: the same hash, at what cost
	$(quiet)$(MAKE) --no-print-directory build/lockstep
	$(quiet)scripts/out_of_core.sh

# Every binary32 through every elementary function: about six minutes on two cores.
.PHONY: exhaustive
$(BUILD)/exhaustive-elementary: $(ORDINARY)/tests/exhaustive/elementary.o $(ORDINARY)/obj/base/hash.o
	$(call say,LINK)$(CC) $(all_cflags) $(LDFLAGS) -o $@ $^ $(LDLIBS)
exhaustive: $(BUILD)/exhaustive-elementary ## Check the elementary functions on all 2^32 arguments
	$(quiet)$(BUILD)/exhaustive-elementary

built := $(sort $(wildcard $(BUILD) $(ORDINARY)))
-include $(if $(built),$(shell find $(built) -name '*.d'))
