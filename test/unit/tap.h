/*
 * tap.h
 *	  Test Anything Protocol, as much of it as the unit tests need.
 *
 * A test program calls ok() for every claim, with a name that says what is
 * claimed, and ends with return tap_done().
 */
#ifndef UNIT_TAP_H
#define UNIT_TAP_H

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int	tap_tests;
static int	tap_failures;

#define diag(...) (printf("# "), printf(__VA_ARGS__), printf("\n"))
#define ok(condition, ...) tap_ok((condition), __FILE__, __LINE__, __VA_ARGS__)
#define is_close(got, want, tolerance, ...) \
	tap_close((got), (want), (tolerance), __FILE__, __LINE__, __VA_ARGS__)
#define is_string(got, want, ...) tap_string((got), (want), __FILE__, __LINE__, __VA_ARGS__)

static bool tap_ok(bool passed, const char *file, int line, const char *format,...)
			__attribute__((format(printf, 4, 5), unused));

static void
tap_report(bool passed, const char *file, int line, const char *format, va_list args)
{
	printf("%s %d - ", passed ? "ok" : "not ok", ++tap_tests);
	vprintf(format, args);
	printf("\n");
	if (!passed)
	{
		tap_failures++;
		diag("failed at %s line %d", file, line);
	}
	fflush(stdout);
}

static bool
tap_ok(bool passed, const char *file, int line, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	tap_report(passed, file, line, format, args);
	va_end(args);
	return passed;
}

/* |got - want| <= tolerance; two NaN are close. */
static bool __attribute__((format(printf, 6, 7), unused))
tap_close(double got, double want, double tolerance, const char *file, int line,
		  const char *format,...)
{
	bool		passed = (isnan(got) && isnan(want)) || fabs(got - want) <= tolerance;
	va_list		args;

	va_start(args, format);
	tap_report(passed, file, line, format, args);
	va_end(args);
	if (!passed)
		diag("got %.17g, want %.17g within %g", got, want, tolerance);
	return passed;
}

static bool __attribute__((format(printf, 5, 6), unused))
tap_string(const char *got, const char *want, const char *file, int line, const char *format,...)
{
	bool		passed = got == want || (got != NULL && want != NULL && strcmp(got, want) == 0);
	va_list		args;

	va_start(args, format);
	tap_report(passed, file, line, format, args);
	va_end(args);
	if (!passed)
		diag("got \"%s\", want \"%s\"", got != NULL ? got : "(null)", want != NULL ? want : "(null)");
	return passed;
}

/* Prints the plan; the value main returns. */
static int __attribute__((unused))
tap_done(void)
{
	printf("1..%d\n", tap_tests);
	if (tap_failures > 0)
		diag("%d of %d failed", tap_failures, tap_tests);
	return tap_failures > 0;
}

#endif							/* UNIT_TAP_H */
