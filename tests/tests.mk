# Tests. Unit tests: tests/<module>/test_<file>.c includes the .c it tests, so the archive's copy of
# that file is left out of the link. Integration tests, fuzzing and measurements are scripts.

TEST_SOURCES := $(filter-out %_$(OTHER_OS).c,$(wildcard tests/*/test_*.c))
TESTS := $(TEST_SOURCES:%.c=$(BUILD)/%)
TEST_LIBS := $(LIB) $(TP_LIBS)
PROGRAM := $(if $(MAIN),$(BUILD)/baetyl)
# A cross target's programs run under qemu's user mode.
RUNNER_aarch64-linux-musl := $(if $(filter-out aarch64,$(shell uname -m)),qemu-aarch64-static)
RUNNER_armv7-linux-musleabihf := qemu-arm-static
export RUNNER := $(RUNNER_$(TARGET))
# What the scripts are told. Not under make's own names: a make they start would take those over.
export BAETYL := $(BUILD)/baetyl
export LINT_CC := $(CC)
export LINT_CPPFLAGS := $(CPPFLAGS_ALL)
export BAETYL_BUILD := $(BUILD)
export BAETYL_TARGET := $(TARGET)
export BAETYL_SAN := $(SAN)

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(TEST_LIBS) $(if $(MUSL),$(TP)/libmimalloc.a)
	$(call say,LINK) $(CC) $(LDFLAGS_ALL) $(LDFLAGS) -o $@ $(ALLOCATOR) $< $(TEST_LIBS) $(LDLIBS)

.PHONY: tests check check-unit check-integration check-cgroup2 lint lint-tidy format fuzz bench soak regen darwin-check
## goals: all (default)  check  check-unit  check-integration  check-cgroup2  lint  lint-tidy  format  fuzz  bench  soak
tests: all $(TESTS)

check: tests
	@tests/lint/sum.sh "tests/lint/unit.sh $(TESTS)" "$(MAKE) -s lint" \
	    $(if $(wildcard tests/run.sh),"tests/run.sh")

check-unit: $(TESTS)
	@tests/lint/unit.sh $(TESTS)

check-integration: $(PROGRAM)
	@tests/run.sh

lint: $(PROGRAM)
	@tests/lint/lint.sh

# Slow, and it needs clang-tidy 14: not part of check.
lint-tidy:
	clang-tidy --quiet $(filter-out %.pb.c,$(SOURCES)) -- -std=gnu11 $(CPPFLAGS_ALL)

format:
	@tests/lint/format.sh --fix

# With clang's libFuzzer where it is to be had, else the corpus is replayed through the same targets.
fuzz: $(LIB) $(TP_LIBS)
	@tests/lint/fuzz.sh $(BUILD)/fuzz $(LIB) $(TP_LIBS) $(LDLIBS)

# In a virtual machine with a kernel of its own, which has cgroup v2 alone; the static executable of x86_64.
check-cgroup2:
	@tests/vm/vm.py

bench: $(PROGRAM)
	@tests/bench/run.sh

# SOAK_HOURS= or SOAK_SECONDS= (300).
soak: $(PROGRAM)
	@tests/soak/run.sh

##        regen (generated sources and docs/config.md)  darwin-check  install  clean  help
regen: $(PROGRAM)
	@tests/lint/regen.sh
	$(if $(PROGRAM),$(BUILD)/baetyl config --markdown >docs/config.md)

darwin-check:
	@tests/lint/darwin.sh || { code=$$?; [ $$code -eq 77 ] && echo "skip darwin-check"; }
