# Compiling what runs without a server.  POSIX shell; the caller has set -eu and
# stands in the project's top folder.

blas=$(dirname "$(find /usr/lib -path '*openblas-serial/libopenblas.so' | head -n 1)")
include=$(dirname "$(find /usr/include -path '*openblas-serial/cblas.h' | head -n 1)")

# A program of one file and OpenBLAS.
#	blas_program SOURCE PROGRAM
blas_program()
{
	gcc -O2 -I"$include" "$1" -o "$2" -L"$blas" -lopenblas -Wl,-rpath,"$blas"
}

# A program of one file and the numeric core, compiled as the extension is.
#	core_program SOURCE PROGRAM [option of the compiler ...]
core_program()
{
	source=$1 program=$2
	shift 2
	# shellcheck disable=SC2046
	gcc -O3 -fno-math-errno -fno-trapping-math --param=avoid-fma-max-bits=0 "$@" -Isrc -I"$include" "$source" src/nn/*.c $(grep -L postgres.h src/learn/*.c) \
		-o "$program" -L"$blas" -lopenblas -Wl,-rpath,"$blas" -lm
}
