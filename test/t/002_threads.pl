# A backend that has used the matrix library still is one thread, also where
# the threaded flavour of OpenBLAS is installed and preferred by the system.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'no /proc here' unless -r '/proc/self/status';

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION meta');

# Which library the module gets, and how many threads the backend has, seen
# from within.
my $proc = q{
	CREATE FUNCTION pg_temp.proc(name text) RETURNS text LANGUAGE sql
	RETURN pg_read_file('/proc/' || pg_backend_pid() || '/' || name);
};
my $threads = q{
	SELECT substring(pg_temp.proc('status') FROM 'Threads:\s*(\d+)');
};

my $output = $node->safe_psql('postgres', qq{
	SET client_min_messages = warning;
	$proc
	CREATE TABLE t AS
		SELECT task, x::float8 / 10 AS x, task + task * x::float8 / 10 AS y
		FROM generate_series(1, 50) task, generate_series(1, 20) x;
	CALL meta.train('threads', 't', task => 'task', target => 'y',
					options => '{"iterations": 5}');
	SELECT meta.predict(meta.adapt('threads', t), ROW(task, 0.5::float8, NULL::float8)::t) IS NOT NULL
	FROM t WHERE task = 1 GROUP BY task;
	$threads
	SELECT count(DISTINCT m[1]), min(m[1])
	FROM regexp_matches(pg_temp.proc('maps'), '\\S*libopenblas\\S*', 'g') m;
});

my ($predicted, $n_threads, $maps) = split /\n/, $output;
is($predicted, 't', 'a prediction was made');
is($n_threads, '1', 'and the backend has one thread');
my ($libraries, $library) = split /\|/, $maps;
is($libraries, '1', 'one OpenBLAS is loaded');
unlike($library, qr/pthread|openmp|libopenblas[po]/, "and it is the serial one: $library");

$node->stop;
done_testing();
