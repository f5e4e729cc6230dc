# Parallel workers: a training has the same bytes with none, one, two and four
# of them, whatever interrupts it; and it does without where there are none.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Background;

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

sub training
{
	my ($iterations, $checkpoint) = @_;

	return qq{CALL meta.train('w', 'answers', task => 'student', target => 'score', algorithm => 'maml',
		options => '{"iterations": $iterations, "hidden": [64, 64], "inner_steps": 3, "meta_batch": 30, "shots": [0, 12], "patience": 0,
			"checkpoint": $checkpoint}')};
}

# Trains, and tells the bytes of the model.
sub train
{
	my ($workers, $iterations, $checkpoint, $setting) = @_;

	$setting //= '';
	$node->safe_psql('postgres', "SET max_parallel_maintenance_workers = $workers; $setting; " . training($iterations, $checkpoint));
	return $node->safe_psql('postgres', q{SELECT md5(meta.params('w'))});
}

my $alone = train(0, 20, 10);
foreach my $workers (1, 2, 4)
{
	is(train($workers, 20, 10), $alone, "the same bytes with $workers of max_parallel_maintenance_workers");
}
is(train(2, 20, 0), train(0, 20, 0), 'and with a checkpoint after each meta-iteration, for which the workers leave');
is(train(2, 20, 10, 'SET max_parallel_workers = 0'), $alone, 'and where no worker is free');

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
sub endless
{
	my ($checkpoint) = @_;

	return Background->start($node, 'SET max_parallel_maintenance_workers = 2',
		qq{CALL meta.train('long', 'answers', task => 'student', target => 'score', algorithm => 'maml',
			options => '{"iterations": 1000000, "hidden": [64, 64], "inner_steps": 3, "meta_batch": 30, "patience": 0, "checkpoint": $checkpoint,
				"validation": 0}')});
}
my $workers = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker'};
my $leader = q{application_name = 'background' AND backend_type = 'client backend'};

foreach my $by (qw(cancel terminate))
{
	my $session = endless(0.2);

	ok($node->poll_query_until('postgres', "SELECT ($workers) = 2"), 'two workers are at work');
	ok($node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM meta.training WHERE model = 'long' AND checkpoint IS NOT NULL}),
		'and checkpoints are kept beside them');
	$node->safe_psql('postgres', qq{SELECT pg_${by}_backend(pid) FROM pg_stat_activity WHERE $leader});
	like($session->finish, $by eq 'cancel' ? qr/canceling statement due to user request/ : qr/terminating connection due to administrator command/,
		"$by ends it");
	ok($node->poll_query_until('postgres', "SELECT ($workers) = 0"), '... and the workers');
}

# A worker that is ended takes the training with it.  It has been at work for
# a while, in a section that no checkpoint ends: one that is only about to
# begin would leave with another message.
{
	my $session = endless(86400);

	ok($node->poll_query_until('postgres', qq{
		SELECT count(pg_terminate_backend(pid)) > 0 FROM (
			SELECT pid FROM pg_stat_activity
			WHERE backend_type = 'parallel worker' AND backend_start < clock_timestamp() - interval '1 s' LIMIT 1) w}), 'a worker is ended');
	like($session->finish, qr/terminating background worker "parallel worker" due to administrator command/, '... and the training with its message');
	ok($node->poll_query_until('postgres', "SELECT ($workers) = 0"), '... and the other worker');
}

# Interrupted with workers, resumed without, and the other way round.
Background->allow_holding($node);
my $whole = train(0, 200, 0.05);
foreach my $case ([ 2, 0 ], [ 0, 2 ])
{
	my ($before, $after) = @$case;

	$node->safe_psql('postgres', q{DELETE FROM meta.model WHERE name = 'w'});
	my $session = Background->start($node, "SET max_parallel_maintenance_workers = $before", q{SET test.hold = 'maml/100'}, training(200, 0.05));
	$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM meta.training WHERE model = 'w' AND checkpoint IS NOT NULL});
	$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE $leader");
	like($session->finish, qr/canceling statement/, "with $before workers: interrupted");
	$node->safe_psql('postgres', qq{SET max_parallel_maintenance_workers = $after; CALL meta.resume('w')});
	is($node->safe_psql('postgres', q{SELECT md5(meta.params('w'))}), $whole, "... and resumed with $after: the same bytes");
}

$node->stop;

# A container's /dev/shm is small, and may be full: then it is done without, too.
# Of 1,200 kB a server takes 1,024 when it starts, so that no segment is left.
# The server gets one of its own, as a user who is root there for mounting it only.
SKIP:
{
	my @full = (
		'unshare', '--user', '--map-root-user', '--mount', 'sh', '-c',
		'mount -t tmpfs -o size=1200k,mode=1777 tmpfs /dev/shm && exec unshare --user --map-user=1000 --map-group=1000 "$@"', 'sh');
	my @server = ('pg_ctl', '--pgdata', $node->data_dir, '--log', $node->logfile, '--wait');
	my $offset = -s $node->logfile;

	skip 'no file system can be mounted here', 3 if !run_log([ @full, 'true' ]);
	system_or_bail(@full, @server, 'start');
	is($node->safe_psql('postgres', 'SHOW dynamic_shared_memory_type'), 'posix', 'a server whose shared memory is a full file system');
	is(train(2, 20, 10), $alone, '... trains without workers, and the same bytes');
	unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile, $offset), qr/ERROR|WARNING/, '... and says nothing of it');
	system_or_bail(@server, '--mode', 'fast', 'stop');
}
done_testing();
