# Parallel workers: a training has the same bytes with none, one, two and four
# of them, whatever interrupts it; and it does without where there are none.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "max_worker_processes = 16\nmax_parallel_workers = 16\nlog_min_messages = warning");
$node->start;
$node->safe_psql(
	'postgres', q{
	CREATE EXTENSION meta;
	CREATE TABLE answers AS
		SELECT s AS student, n AS nr, (s * 7 + n * 13) % 20 / 10.0 - 1 AS x, s % 11 AS y, chr(97 + (s + n) % 5) AS skill,
			s % 7 + (s * 7 + n * 13) % 20 / 5.0 AS score
		FROM generate_series(1, 300) s, generate_series(1, 30) n;
});

# Trains, and tells the bytes of the model.
sub train
{
	my ($workers, $checkpoint, %also) = @_;
	my $settings = join '', map { "SET $_ = '$also{$_}';" } grep { $_ ne 'iterations' } sort keys %also;
	my $iterations = $also{iterations} // 20;

	$node->safe_psql(
		'postgres', qq{SET max_parallel_maintenance_workers = $workers; $settings
		CALL meta.train('w', 'answers', task => 'student', target => 'score', algorithm => 'maml',
			options => '{"iterations": $iterations, "hidden": [64, 64], "inner_steps": 3, "meta_batch": 30, "shots": [0, 12], "patience": 0,
				"checkpoint": $checkpoint}');});
	return $node->safe_psql('postgres', q{SELECT md5(meta.params('w'))});
}

my $alone = train(0, 10);
foreach my $workers (1, 2, 4)
{
	is(train($workers, 10), $alone, "the same bytes with $workers of max_parallel_maintenance_workers");
}
is(train(2, 0), train(0, 0), 'and with a checkpoint after each meta-iteration, for which the workers leave');
is(train(2, 10, max_parallel_workers => 0), $alone, 'and where no worker is free');

# Items with few answers: their effects are given, and rows carry offsets.
$node->safe_psql(
	'postgres', q{
	CREATE TABLE items AS
		SELECT s AS student, n AS nr, 'item ' || (s * 17 + n * 13) % 500 AS item, chr(97 + n % 3) AS skill,
			((s * 17 + n * 13) % 500 * 7 + s * n % 11 * 30 + s % 7 * 50) % 1000 < 550 AS correct
		FROM generate_series(1, 300) s, generate_series(1, 15) n;
});

sub train_items
{
	my ($workers, $name, $more) = @_;

	$node->safe_psql(
		'postgres', qq{SET max_parallel_maintenance_workers = $workers;
		CALL meta.train('$name', 'items', task => 'student', target => 'correct', order_by => 'nr', algorithm => 'alpaca',
			options => '{"iterations": 60, "hidden": [32], "encode": {"skill": "category"}, "patience": 0$more}');});
	return $node->safe_psql('postgres', qq{SELECT md5(meta.params('$name'))});
}
is(train_items(2, 'items', ''), train_items(0, 'items', ''), 'the same bytes where items have effects of their own');

# A column of so many values that only the rows of its table are updated that a
# meta-iteration sees; beyond the step at which all are brought up to date.
$node->safe_psql(
	'postgres', q{
	CREATE TABLE wide AS
		SELECT s AS student, n AS nr, 'item ' || (s * 17 + n * 131) % 2000 AS item, s % 11 AS y,
			s % 7 + (s * 17 + n * 131) % 2000 % 13 / 5.0 AS score
		FROM generate_series(1, 600) s, generate_series(1, 15) n;
});

sub train_wide
{
	my ($workers, $checkpoint) = @_;

	$node->safe_psql(
		'postgres', qq{SET max_parallel_maintenance_workers = $workers;
		CALL meta.train('wide', 'wide', task => 'student', target => 'score', order_by => 'nr', algorithm => 'maml',
			options => '{"iterations": 140, "hidden": [64, 64], "inner_steps": 2, "meta_batch": 14, "patience": 0, "validation": 0,
				"encode": {"item": "category"}, "checkpoint": $checkpoint}');});
	return $node->safe_psql('postgres', q{SELECT md5(meta.params('wide'))});
}
my $wide = train_wide(0, 10);
foreach my $workers (1, 2, 4)
{
	is(train_wide($workers, 10), $wide, "tables of which only some rows are seen: the same bytes with $workers");
}
is(train_wide(2, 0.05), train_wide(0, 0.05), '... and with checkpoints');

# A training that goes on and on, to look at.
my $long = q{CALL meta.train('long', 'answers', task => 'student', target => 'score', algorithm => 'maml',
	options => '{"iterations": 1000000, "hidden": [64, 64], "inner_steps": 3, "meta_batch": 30, "patience": 0, "checkpoint": 0.2, "validation": 0}')};
my $workers = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker'};

sub background
{
	my ($err) = @_;
	return IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres') . ' application_name=victim', '-c', 'SET max_parallel_maintenance_workers = 2', '-c', $long ],
		'<', \undef, '>', \my $out, '2>', $err, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
}

foreach my $by (qw(cancel terminate))
{
	my $err = '';
	my $psql = background(\$err);

	ok($node->poll_query_until('postgres', "SELECT ($workers) = 2"), 'two workers are at work');
	ok($node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM meta.training WHERE model = 'long' AND checkpoint IS NOT NULL}),
		'and checkpoints are kept beside them');
	$node->safe_psql('postgres', qq{SELECT pg_${by}_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim' AND backend_type = 'client backend'});
	IPC::Run::finish($psql);
	like($err, $by eq 'cancel' ? qr/canceling statement due to user request/ : qr/terminating connection due to administrator command/,
		"$by ends it");
	ok($node->poll_query_until('postgres', "SELECT ($workers) = 0"), '... and the workers');
}

# A worker that is ended takes the training with it, and the training can be resumed.
{
	my $err = '';
	my $psql = background(\$err);

	$node->poll_query_until('postgres', "SELECT ($workers) > 0");
	# they may be between two checkpoints' sections at that moment
	$node->poll_query_until('postgres', q{SELECT count(CASE WHEN backend_type = 'parallel worker' THEN pg_terminate_backend(pid) END) >= 0
		AND count(*) FILTER (WHERE application_name = 'victim' AND backend_type = 'client backend') = 0 FROM pg_stat_activity
		WHERE backend_type = 'parallel worker' OR application_name = 'victim'});
	IPC::Run::finish($psql);
	like($err, qr/terminating background worker "parallel worker" due to administrator command/, 'a worker that is ended ends the training with its message');
	ok($node->poll_query_until('postgres', "SELECT ($workers) = 0"), '... and the other worker');
}

# Interrupted with workers, resumed without, and the other way round.
my $whole = train(0, 0.05, iterations => 200);
foreach my $case ([ 2, 0 ], [ 0, 2 ])
{
	my ($before, $after) = @$case;
	my ($out, $err) = ('', '');

	$node->safe_psql('postgres', q{DELETE FROM meta.model WHERE name = 'w'});
	my $psql = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres') . ' application_name=victim', '-c', "SET max_parallel_maintenance_workers = $before",
		  '-c', q{CALL meta.train('w', 'answers', task => 'student', target => 'score', algorithm => 'maml',
			options => '{"iterations": 200, "hidden": [64, 64], "inner_steps": 3, "meta_batch": 30, "shots": [0, 12], "patience": 0, "checkpoint": 0.05}')} ],
		'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));

	$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM meta.training WHERE model = 'w' AND checkpoint IS NOT NULL});
	$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim' AND backend_type = 'client backend'});
	IPC::Run::finish($psql);
	like($err, qr/canceling statement/, "with $before workers: interrupted");
	$node->safe_psql('postgres', qq{SET max_parallel_maintenance_workers = $after; CALL meta.resume('w')});
	is($node->safe_psql('postgres', q{SELECT md5(meta.params('w'))}), $whole, "... and resumed with $after: the same bytes");
}

$node->stop;
done_testing();
