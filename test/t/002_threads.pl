# A backend that has loaded and used the matrix library still is one thread, also
# where the threaded flavour of OpenBLAS is installed and preferred by the system.

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

# Layers of 256 are products for the library, smaller ones would not ask it.
my $output = $node->safe_psql('postgres', qq{
	SET client_min_messages = warning;
	$proc
	LOAD 'meta';
	$threads
	CREATE TABLE t AS
		SELECT task, x::float8 / 10 AS x, task + task * x::float8 / 10 AS y
		FROM generate_series(1, 50) task, generate_series(1, 40) x;
	CALL meta.train('threads', 't', task => 'task', target => 'y',
					options => '{"iterations": 2, "hidden": [256, 256], "shots": 20, "query": 20}');
	SELECT meta.predict(meta.adapt('threads', t), ROW(task, 0.5::float8, NULL::float8)::t) IS NOT NULL
	FROM t WHERE task = 1 GROUP BY task;
	$threads
	SELECT count(*) FROM pg_ls_dir('/proc/' || pg_backend_pid() || '/task');
	SELECT coalesce(string_agg(DISTINCT m[1], ' '), '')
	FROM regexp_matches(pg_temp.proc('maps'), '\\S*libopenblas\\S*', 'g') m;
});

my ($after_loading, $predicted, $after_use, $tasks, $libraries) = split /\n/, $output;
is($after_loading, '1', 'loading the library starts no thread');
is($predicted, 't', 'a prediction was made');
is($after_use, '1', 'and the backend still has one thread');
is($tasks, '1', 'seen from /proc/PID/task, too');
$libraries //= '';
unlike($libraries, qr/pthread|openmp|libopenblas[po]|\s/,
	"no OpenBLAS but a serial one is loaded: " . ($libraries || 'the one within the module'));

$node->stop;
done_testing();
