# Adapting many tasks at once: a large GROUP BY goes parallel by itself, and
# the bytes depend neither on the plan nor on where the rows lie.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;

# 1,000,000 rows of 10,000 tasks, whose rows lie apart.  The arithmetic stands
# in for random numbers.
$node->safe_psql(
	'postgres', q{
	CREATE EXTENSION meta;
	CREATE TABLE answers AS
		SELECT i % 10000 AS student, i / 10000 AS nr,
			   (i::int8 * 7919 % 1000)::float8 / 500 - 1 AS x,
			   chr(97 + (i::int8 * 104729 % 7)::int) AS skill,
			   CASE WHEN i % 97 > 0 THEN (i % 10000)::float8 / 5000 + (i::int8 * 7919 % 1000)::float8 / 1000 END AS score
		FROM generate_series(0, 999999) i;
	ANALYZE answers;
	CREATE TABLE few AS SELECT * FROM answers WHERE student < 60;
	CALL meta.train('m', 'few', task => 'student', target => 'score', order_by => 'nr', algorithm => 'maml',
					options => '{"iterations": 20, "hidden": [8], "inner_steps": 2, "encode": {"skill": "category"}}');
});

# The settings are PostgreSQL's defaults here.
my $query = q{SELECT student, meta.adapt('m', a) AS params FROM answers a GROUP BY student};
my $plan = $node->safe_psql('postgres', "EXPLAIN (COSTS OFF) $query");
like($plan, qr/Gather/, 'adapting 10,000 tasks of 1,000,000 rows in all goes parallel by itself');
like($plan, qr/Partial \w*Aggregate/, '... with the rows collected by the workers');

$plan = $node->safe_psql('postgres',
	q{EXPLAIN (COSTS OFF) SELECT avg(meta.predict('m', a)) FROM answers a});
like($plan, qr/Parallel Seq Scan/, 'and so does predicting them');

my $digest = q{SELECT count(*), count(params), md5(string_agg(md5(params), '' ORDER BY student))};
my $alone = $node->safe_psql('postgres',
	"SET max_parallel_workers_per_gather = 0; $digest FROM ($query) p");
like($alone, qr/^10000\|10000\|/, 'every task has params');
my $workers = $node->safe_psql('postgres',
	"SET max_parallel_workers_per_gather = 2; $digest FROM ($query) p");
is($workers, $alone, 'the same bytes with 0 and 2 workers');

my $launched = $node->safe_psql('postgres', "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) $query");
like($launched, qr/Workers Launched: [12]/, '... which were launched');

$node->safe_psql('postgres',
	q{CREATE TABLE shuffled AS SELECT * FROM answers ORDER BY md5(nr::text || student)});
is( $node->safe_psql('postgres', "SET max_parallel_workers_per_gather = 0; SET enable_hashagg = off;
	$digest FROM (SELECT student, meta.adapt('m', s) AS params FROM shuffled s GROUP BY student) p"),
	$alone,
	'and the same from another order of the rows and another plan');

# Params that are the same for all, per task, and of a model that only its
# bytes know.
$node->safe_psql(
	'postgres', q{
	CREATE TABLE earlier AS
		SELECT student, meta.adapt('m', s) AS params, meta.params(meta.adapt('m', s)) AS own
		FROM few s WHERE nr < 50 GROUP BY student;
	ANALYZE earlier;
});
my $force = q{SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;};
foreach my $case (
	[ 'params of a model', q{SELECT student, meta.adapt(meta.params('m'), s) AS params FROM few s GROUP BY student} ],
	[ 'params per task', q{SELECT student, meta.adapt(params, s) AS params FROM few s JOIN earlier USING (student) WHERE nr >= 50 GROUP BY student} ],
	[ 'self-contained params', q{SELECT student, meta.adapt(own, s) AS params FROM few s JOIN earlier USING (student) WHERE nr >= 50 GROUP BY student} ])
{
	my ($name, $sql) = @$case;

	like($node->safe_psql('postgres', "$force EXPLAIN (COSTS OFF) $sql"), qr/Partial \w*Aggregate/, "$name: a parallel plan");
	my $zero = $node->safe_psql('postgres', "$force SET max_parallel_workers_per_gather = 0; $digest FROM ($sql) p");
	like($zero, qr/^60\|60\|/, "$name: every task has params");
	is($node->safe_psql('postgres', "$force SET max_parallel_workers_per_gather = 2; $digest FROM ($sql) p"),
		$zero, "$name: the same bytes with 0 and 2 workers");
}

# An error in a worker reaches the user.
my ($status, $stdout, $stderr) = $node->psql('postgres',
	q{SELECT student, meta.adapt('none', a) FROM answers a GROUP BY student});
isnt($status, 0, 'an unknown model is an error in a parallel plan, too');
like($stderr, qr/"none" does not exist/, '... that names it');

$node->stop;
done_testing();
