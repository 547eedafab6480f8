# Unit tests: tests/<module>/test_<file>.c includes the .c it tests, so the archive's copy of that
# file is left out of the link.

TEST_SOURCES := $(filter-out %_$(OTHER_OS).c,$(wildcard tests/*/test_*.c))
TESTS := $(TEST_SOURCES:%.c=$(BUILD)/%)
TEST_LIBS := $(LIB) $(TP_LIBS)

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(TEST_LIBS)
	$(call say,LINK) $(CC) $(LDFLAGS_ALL) $(LDFLAGS) -o $@ $(ALLOCATOR) $< $(TEST_LIBS) $(LDLIBS)

.PHONY: tests check-unit
tests: $(TESTS)
check-unit: $(TESTS)
	@tests/lint/unit.sh $(TESTS)
