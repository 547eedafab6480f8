# Third-party libraries: sources under $(SRC), fetched once for all targets; objects and archives
# under $(TP), one set per target. No upstream build system is used, except musl's own and the one
# that makes SQLite's amalgamation (fetch.sh).

SRC := build/src
TP_NAMES := mbedtls libev libyaml nanopb sqlite yyjson
TP_FETCH := $(TP_NAMES) $(if $(MUSL),musl mimalloc)

# The lists of sources are wildcards, so the sources must be there before the rules below are read:
# make builds this included file first and then starts over.
$(SRC)/fetched$(if $(MUSL),-musl).mk: third_party/manifest.tsv third_party/fetch.sh
	@third_party/fetch.sh $(SRC) $(TP_FETCH)
	@touch $@
include $(SRC)/fetched$(if $(MUSL),-musl).mk

TP_INCLUDE := -I. -isystem $(SRC)/mbedtls/include -isystem $(SRC)/libev \
    -isystem $(SRC)/libyaml/include -isystem $(SRC)/nanopb -isystem $(SRC)/sqlite \
    -isystem $(SRC)/yyjson/src

# Options that change a library's header, seen by its owner file as well.
TP_DEFINES := -DMBEDTLS_CONFIG_FILE='"third_party/mbedtls_config.h"' -DEV_COMPAT3=0 \
    -DEV_STAT_ENABLE=0 -DEV_EMBED_ENABLE=0 -DEV_FORK_ENABLE=0 -DPB_FIELD_32BIT=1

TP_SRC_mbedtls := $(wildcard $(SRC)/mbedtls/library/*.c) third_party/mbedtls_random.c
TP_SRC_libev := third_party/libev_unit.c
TP_SRC_libyaml := $(wildcard $(SRC)/libyaml/src/*.c)
TP_SRC_nanopb := $(wildcard $(SRC)/nanopb/pb_*.c)
TP_SRC_sqlite := $(SRC)/sqlite/sqlite3.c
TP_SRC_yyjson := $(SRC)/yyjson/src/yyjson.c
TP_SRC_mimalloc := $(SRC)/mimalloc/src/static.c

TP_FLAGS_mbedtls := -I$(SRC)/mbedtls/library
TP_FLAGS_libev := -I$(SRC)/libev -DEV_STANDALONE=1 -include third_party/libev_config.h -fno-strict-aliasing
TP_FLAGS_libyaml := -DYAML_VERSION_MAJOR=0 -DYAML_VERSION_MINOR=2 -DYAML_VERSION_PATCH=5 \
    -DYAML_VERSION_STRING='"0.2.5"' -DYAML_DECLARE_STATIC
TP_FLAGS_nanopb :=
TP_FLAGS_yyjson := -DYYJSON_DISABLE_INCR_READER=1
# synchronous is set to FULL by core/db.c; see the comment there before touching it here.
TP_FLAGS_sqlite := $(addprefix -DSQLITE_,THREADSAFE=2 DQS=0 DEFAULT_MEMSTATUS=0 \
    LIKE_DOESNT_MATCH_BLOBS MAX_EXPR_DEPTH=0 STRICT_SUBTYPE=1 OMIT_DECLTYPE OMIT_DEPRECATED \
    OMIT_PROGRESS_CALLBACK OMIT_SHARED_CACHE OMIT_AUTOINIT OMIT_LOAD_EXTENSION OMIT_UTF16 \
    OMIT_DESERIALIZE OMIT_TRACE OMIT_TCL_VARIABLE TEMP_STORE=3 USE_ALLOCA) \
    -DHAVE_FDATASYNC=1 -DHAVE_USLEEP=1 -DHAVE_ISNAN=1
TP_FLAGS_mimalloc := -I$(SRC)/mimalloc/include -DMI_MALLOC_OVERRIDE=1 -DMI_STAT=0 \
    -fno-builtin-malloc -ftls-model=local-exec

TP_CFLAGS := -std=gnu11 -w $(TP_OPT) -ffunction-sections -fdata-sections $(ARCHFLAGS) $(PREFIXMAP) \
    -D_GNU_SOURCE -DNDEBUG
TP_SAN := $(if $(findstring thread,$(SAN)),-fsanitize=thread)
TP_LIBS := $(TP_NAMES:%=$(TP)/lib%.a)

# Changes only when a flag does, so that objects are rebuilt exactly then.
TP_ALL_FLAGS = $(CC) $(TP_CFLAGS) $(TP_SAN) $(TP_DEFINES) $(foreach n,$(TP_NAMES) mimalloc,$(TP_FLAGS_$(n)))
$(call stamp,$(TP)/flags,$(TP_ALL_FLAGS))

# $(call tp_library,NAME): objects and archive of one library.
define tp_library
TP_OBJ_$(1) := $$(patsubst %.c,$$(TP)/$(1)/%.o,$$(subst $$(SRC)/$(1)/,,$$(TP_SRC_$(1))))
$$(TP)/$(1)/%.o: $$(SRC)/$(1)/%.c $$(TP)/flags $$(LIBC)
	@mkdir -p $$(@D)
	$$(call say,CC) $$(CC) $$(LIBCFLAGS) $$(TP_CFLAGS) $$(TP_INCLUDE) $$(TP_DEFINES) $$(TP_FLAGS_$(1)) \
	    $$(TP_SAN) -c $$< -o $$@
$$(TP)/lib$(1).a: $$(TP_OBJ_$(1))
	@rm -f $$@
	$$(call say,AR) $$(AR) $$(ARFLAGS) $$@ $$^
endef
$(foreach n,$(TP_NAMES) $(if $(MUSL),mimalloc),$(eval $(call tp_library,$(n))))

$(TP)/mbedtls/third_party/%.o: third_party/%.c $(TP)/flags $(LIBC)
	@mkdir -p $(@D)
	$(call say,CC) $(CC) $(LIBCFLAGS) $(TP_CFLAGS) $(TP_INCLUDE) $(TP_DEFINES) $(TP_SAN) -c $< -o $@
# libev orders its wake-ups with bare fences, which ThreadSanitizer does not understand: it stays
# without. What the mailbox protects, it protects with its lock.
$(TP)/libev/third_party/%.o: third_party/%.c $(SRC)/libev/ev.c $(TP)/flags $(LIBC)
	@mkdir -p $(@D)
	$(call say,CC) $(CC) $(LIBCFLAGS) $(TP_CFLAGS) $(TP_INCLUDE) $(TP_DEFINES) $(TP_FLAGS_libev) -c $< -o $@
$(TP_OBJ_mbedtls): third_party/mbedtls_config.h
$(TP_OBJ_libev): third_party/libev_config.h

# The C library of the static targets. The kernel's headers come from the build machine: musl has none.
$(TP)/libc/lib/libc.a: $(SRC)/musl/.baetyl
	@rm -rf $(TP)/libc $(TP)/libc-build
	@mkdir -p $(TP)/libc-build $(TP)/libc/kernel
	@echo "  LIBC    musl for $(TARGET)"
	@cd $(TP)/libc-build && $(CURDIR)/$(SRC)/musl/configure --target=$(MUSL_TUPLE) \
	    --prefix=$(CURDIR)/$(TP)/libc --syslibdir=$(CURDIR)/$(TP)/libc/lib --disable-shared \
	    --enable-wrapper=gcc CC="$(CC)" AR="$(AR)" RANLIB="$(CROSS)ranlib" \
	    CFLAGS="$(ARCHFLAGS) $(PREFIXMAP)" >configure.out 2>&1
	@$(MAKE) -C $(TP)/libc-build install >$(TP)/libc-build/make.out 2>&1 || \
	    { tail -n 20 $(TP)/libc-build/make.out; exit 1; }
	@for d in linux asm asm-generic; do \
	    for root in $(KERNEL_HEADERS); do \
	        [ ! -d $$root/$$d ] || { ln -sfn $$root/$$d $(TP)/libc/kernel/$$d; break; }; \
	    done; \
	done
	@touch $@

# The licence texts, verbatim, that have to go with the executable.
.PHONY: third_party licenses
licenses: $(SRC)/fetched$(if $(MUSL),-musl).mk
	@mkdir -p build/$(TARGET)/licenses
	@for n in $(TP_FETCH); do \
	    text=$$(find $(SRC)/$$n -maxdepth 1 \( -iname 'LICENSE*' -o -iname 'COPYRIGHT*' \) | sort | head -n 1); \
	    if [ -n "$$text" ]; then cat $$text; else sed -n '1,/^\*\//p' $(SRC)/$$n/*.h | head -n 40; fi \
	        >build/$(TARGET)/licenses/$$n.txt; \
	done
third_party: $(TP_LIBS) $(if $(MUSL),$(TP)/libmimalloc.a)
