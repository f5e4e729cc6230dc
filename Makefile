# meta: a PostgreSQL extension; see README.md
#
#	make && make install && make installcheck	[PG_CONFIG=/path/to/pg_config]
#
# dev/test runs every kind of test, and needs neither installing nor a server.

MODULE_big = meta
EXTENSION = meta
DATA = $(wildcard meta--*.sql)

ROOMS = src src/nn src/learn src/data src/store src/train src/sql
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard $(addsuffix /*.c,$(ROOMS)))))

# The serial flavour of OpenBLAS, found by its own path: the threaded one starts
# its threads when it is loaded, in every backend, and Debian's alternatives
# prefer it wherever it is installed.  The module takes what it needs out of the
# archive: PostgreSQL resolves all symbols of whatever it loads, and the shared
# library, which has thousands, would keep each new backend busy for 8 ms.
OPENBLAS_DIR ?= $(patsubst %/,%,$(dir $(firstword $(wildcard /usr/lib/*/openblas-serial/libopenblas.so))))
OPENBLAS_INCLUDE ?= $(patsubst %/,%,$(dir $(firstword $(wildcard /usr/include/*/openblas-serial/cblas.h))))
OPENBLAS_LIBS ?= $(or $(filter %/openblas-serial/libopenblas.a,$(wildcard $(OPENBLAS_DIR)/libopenblas.a)), \
	-L$(OPENBLAS_DIR) -lopenblas -Wl,-rpath,$(OPENBLAS_DIR))

PG_CPPFLAGS = -Isrc -I$(OPENBLAS_INCLUDE)
PG_CFLAGS = -O3 -fno-math-errno -fno-trapping-math
SHLIB_LINK = $(OPENBLAS_LIBS) -lm

# := because an empty list must count as undefined for PGXS
REGRESS := $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
ISOLATION := $(patsubst specs/%.spec,%,$(sort $(wildcard specs/*.spec)))

EXTRA_CLEAN = test/unit/build

# No bitcode: a JIT would inline calls into functions that exports.map hides,
# and there is nothing to gain where a call costs a matrix product.
override with_llvm = no

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq ($(PGXS),)
$(error $(PG_CONFIG) was not found: install postgresql-server-dev-15 (or that of your version), or name it in PG_CONFIG)
endif
include $(PGXS)

# Sums of products are chains of fused multiply-adds.  GCC 13 and later break
# such chains up where vectors are short, which is slower here, and rounds a row
# alone otherwise than the same row among others (nn/kernels_body.h).
FUSED = --param=avoid-fma-max-bits=0
override CFLAGS := $(CFLAGS) $(shell $(CC) $(FUSED) -E -x c /dev/null >/dev/null 2>&1 && echo $(FUSED))

# PostgreSQL loads modules with their symbols global: what is not called from
# outside stays inside, or a function of ours would take the place of another
# module's, or theirs of ours.
ifneq ($(PORTNAME),darwin)
SHLIB_LINK += -Wl,--version-script=src/exports.map
$(shlib): src/exports.map
endif

# PostgreSQL is mostly built without dependency tracking, so it is told here
# who imports whom: src/nn stands on itself, the other rooms on any.
$(filter src/nn/%,$(OBJS)): $(wildcard src/nn/*.h)
$(filter-out src/nn/%,$(OBJS)): $(wildcard $(addsuffix /*.h,$(ROOMS)))

# Means and deviations have the same bits on every processor: no instruction
# that multiplies and adds at once.
src/data/numbers.o src/data/fit.o: override CFLAGS += -ffp-contract=off

# Said once and before the first compilation, not by the compiler.
$(OBJS): | openblas
.PHONY: openblas
openblas:
ifeq ($(and $(wildcard $(OPENBLAS_DIR)/libopenblas.*),$(wildcard $(OPENBLAS_INCLUDE)/cblas.h)),)
	@echo >&2 "meta needs OpenBLAS, its serial flavour: apt-get install libopenblas-serial-dev"
	@echo >&2 "(elsewhere: make OPENBLAS_DIR=<folder of libopenblas.so> OPENBLAS_INCLUDE=<folder of cblas.h>)"
	@exit 1
endif
