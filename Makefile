# Baetyl. `make help` lists the goals. Sources are found by wildcard; third-party libraries are in
# third_party/rules.mk, the tests in tests/tests.mk.

TARGET ?= host
SAN ?=
DEBUG ?=
PREFIX ?= /usr/local
comma := ,
VARIANT := $(if $(findstring thread,$(SAN)),-tsan,$(if $(SAN),-asan))$(if $(DEBUG),-debug)
BUILD ?= build/$(TARGET)$(VARIANT)
TP := build/$(TARGET)$(if $(findstring thread,$(SAN)),-tsan)/third_party
OS := $(or $(TARGET_OS),$(if $(findstring macos,$(TARGET)),darwin,$(if $(filter Darwin,$(shell uname -s)),darwin,linux)))
SHELL := /bin/sh
MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.SECONDARY:

# Targets: the compiler's prefix, musl's name for the machine, where the kernel's headers are.
CROSS_x86_64-linux-musl := $(if $(filter-out x86_64,$(shell uname -m)),x86_64-linux-gnu-)
CROSS_aarch64-linux-musl := $(if $(filter-out aarch64,$(shell uname -m)),aarch64-linux-gnu-)
CROSS_armv7-linux-musleabihf := $(if $(filter-out armv7l armv8l,$(shell uname -m)),arm-linux-gnueabihf-)
TUPLE_x86_64-linux-musl := x86_64-linux-gnu
TUPLE_aarch64-linux-musl := aarch64-linux-gnu
TUPLE_armv7-linux-musleabihf := arm-linux-gnueabihf
MUSL := $(findstring musl,$(TARGET))
CROSS := $(CROSS_$(TARGET))
MUSL_TUPLE := $(TUPLE_$(TARGET))
KERNEL_HEADERS := /usr/$(MUSL_TUPLE)/include /usr/include/$(MUSL_TUPLE) /usr/include
ifeq ($(origin CC),default)
CC := $(if $(filter darwin,$(OS)),clang,$(CROSS)gcc)
endif
ifeq ($(origin AR),default)
AR := $(CROSS)ar
endif
STRIP ?= $(CROSS)strip
ARFLAGS := $(if $(filter darwin,$(OS)),rc,rcD)
CC_BUILD ?= cc

WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 \
    -Wvla -Wundef -Wimplicit-fallthrough -Wwrite-strings -Werror
PREFIXMAP := -ffile-prefix-map=$(CURDIR)/=
TP_OPT := $(if $(MUSL),-O2,-O2 -g1)
OPT := $(if $(DEBUG),-O0 -g,$(if $(SAN),-O1 -g -fno-omit-frame-pointer,-O2 -g))
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all)
CFLAGS_ALL := -std=gnu11 $(OPT) $(WARN) $(SANFLAGS) -ffunction-sections -fdata-sections -pthread \
    -fstack-protector-strong $(PREFIXMAP)
LDLIBS := -lm -pthread
GC := $(if $(filter darwin,$(OS)),-Wl$(comma)-dead_strip,-Wl$(comma)--gc-sections -Wl$(comma)-z$(comma)relro$(comma)-z$(comma)now)
LDFLAGS_ALL := $(SANFLAGS) $(GC)

# $(call stamp,FILE,TEXT): writes FILE when TEXT is not what it holds. $(call say,CC): one line a file, V=1 shows all.
stamp = $(shell mkdir -p $(dir $(1)); [ "$$(cat $(1) 2>/dev/null)" = "$(subst ",,$(subst ',,$(2)))" ] || echo "$(subst ",,$(subst ',,$(2)))" >$(1))
say = $(if $(V),,@printf '  %-7s %s\n' $(1) $@;)

ifneq ($(MUSL),)
LIBC := $(TP)/libc/lib/libc.a
ARCHFLAGS := -fno-pie
LIBCFLAGS := -specs=$(TP)/libc/lib/musl-gcc.specs -idirafter $(TP)/libc/kernel
LDFLAGS_ALL += $(LIBCFLAGS) -static -no-pie -Wl,--build-id=none
ALLOCATOR := -Wl,--whole-archive $(TP)/libmimalloc.a -Wl,--no-whole-archive
endif

ifeq ($(filter clean help,$(MAKECMDGOALS)),)
include third_party/rules.mk
endif
CPPFLAGS_ALL := -D_GNU_SOURCE $(TP_INCLUDE) $(TP_DEFINES) $(LIBCFLAGS)

# Our sources: a file pair x_linux.c / x_darwin.c is the only way to depend on the system.
MODULES := core hub agent bridge funcmgr runtime-embed
OTHER_OS := $(if $(filter darwin,$(OS)),linux,darwin)
SOURCES := $(filter-out %_$(OTHER_OS).c runtime-embed/embed.c,$(wildcard $(MODULES:%=%/*.c) $(MODULES:%=%/*/*.c)))
EMBEDDED := $(patsubst runtime-embed/runtime.%,%,$(wildcard runtime-embed/runtime.py runtime-embed/runtime.js))
GEN := $(EMBEDDED:%=$(BUILD)/gen/runtime_%.o)
MAIN := $(filter core/main.c,$(SOURCES))
OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(filter-out core/main.c,$(SOURCES))) $(GEN)
LIB := $(BUILD)/libbaetyl.a
.DEFAULT_GOAL := all

.PHONY: all clean help install
all: $(LIB) $(if $(MAIN),$(BUILD)/baetyl) $(TP_LIBS)

$(call stamp,$(BUILD)/flags,$(CC) $(CFLAGS_ALL) $(CPPFLAGS_ALL) $(ARCHFLAGS) $(LDFLAGS_ALL))

$(BUILD)/%.o: %.c $(BUILD)/flags $(LIBC)
	@mkdir -p $(@D)
	$(call say,CC) $(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(ARCHFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# The time of the build is that of the last commit, so that the same sources give the same bytes.
BUILD_TIME := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null))
$(BUILD)/core/tls_time.o: private ARCHFLAGS += $(if $(BUILD_TIME),-DBT_BUILD_TIME=INT64_C'($(BUILD_TIME))')
$(call stamp,$(BUILD)/build_time,$(BUILD_TIME))
$(BUILD)/core/tls_time.o: $(BUILD)/build_time
# The revision `baetyl version` tells: that of git, or what a file REVISION in an exported tree says.
REVISION := $(or $(if $(wildcard .git),$(shell git rev-parse --short=12 HEAD 2>/dev/null)),$(shell cat REVISION 2>/dev/null))
TELLS_REVISION := $(BUILD)/core/cmd_version.o $(BUILD)/core/api_core.o
$(TELLS_REVISION): private ARCHFLAGS += $(if $(REVISION),-DBT_REVISION='"$(REVISION)"')
$(call stamp,$(BUILD)/revision,$(REVISION))
$(TELLS_REVISION): $(BUILD)/revision

$(BUILD)/gen/embed: runtime-embed/embed.c
	@mkdir -p $(@D)
	$(call say,CC) $(CC_BUILD) -O1 -o $@ $<
$(BUILD)/gen/runtime_%.c: runtime-embed/runtime.% $(wildcard runtime-embed/runtime_more.*) $(BUILD)/gen/embed
	$(call say,EMBED) $(BUILD)/gen/embed $* $< $(wildcard runtime-embed/runtime_more.$*) >$@
$(BUILD)/gen/%.o: $(BUILD)/gen/%.c $(BUILD)/flags $(LIBC)
	$(call say,CC) $(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(ARCHFLAGS) -c $< -o $@

# A source that goes away must leave the archive, too.
$(call stamp,$(BUILD)/objects,$(OBJECTS))
$(LIB): $(OBJECTS) $(BUILD)/objects
	@rm -f $@
	$(call say,AR) $(AR) $(ARFLAGS) $@ $(OBJECTS)

# The static targets keep the symbols beside the executable that is shipped.
$(BUILD)/baetyl.full: $(BUILD)/core/main.o $(LIB) $(TP_LIBS) $(if $(MUSL),$(TP)/libmimalloc.a)
	$(call say,LINK) $(CC) $(LDFLAGS_ALL) $(LDFLAGS) -o $@ $(ALLOCATOR) $< $(LIB) $(TP_LIBS) $(LDLIBS)
$(BUILD)/baetyl: $(BUILD)/baetyl.full
	$(call say,STRIP) $(if $(MUSL),$(STRIP) -o $@ $<,cp $< $@)

-include tests/tests.mk

install: $(BUILD)/baetyl
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $< $(DESTDIR)$(PREFIX)/bin/baetyl

clean:
	rm -rf build

help:
	@echo "make [TARGET=host|x86_64-linux-musl|aarch64-linux-musl|armv7-linux-musleabihf] [SAN=address,undefined|thread] [DEBUG=1] [V=1] GOAL"
	@sed -n 's/^## //p' Makefile tests/tests.mk

-include $(SOURCES:%.c=$(BUILD)/%.d) $(wildcard $(BUILD)/tests/*/*.d)
