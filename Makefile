# meta: a PostgreSQL extension; see README.md

MODULE_big = meta
EXTENSION = meta
DATA = meta--1.0.sql

OBJS = $(patsubst %.c,%.o,$(wildcard src/*.c src/nn/*.c src/learn/*.c src/data/*.c src/store/*.c src/train/*.c src/sql/*.c))

# The serial flavour of OpenBLAS, found by its own path: the threaded one
# starts its threads when it is loaded, in every backend.
OPENBLAS_DIR ?= $(firstword $(wildcard /usr/lib/*/openblas-serial))
PG_CPPFLAGS = -I$(srcdir)/src -I$(OPENBLAS_INCLUDE)
OPENBLAS_INCLUDE ?= $(firstword $(wildcard /usr/include/*/openblas-serial) /usr/include)
PG_CFLAGS = -O3 -fno-math-errno -fno-trapping-math
SHLIB_LINK = -L$(OPENBLAS_DIR) -lopenblas -Wl,-rpath,$(OPENBLAS_DIR) -lm

REGRESS = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
ISOLATION = $(patsubst specs/%.spec,%,$(sort $(wildcard specs/*.spec)))

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)
