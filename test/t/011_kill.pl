# A training whose server is killed, twice, ends with the bytes of one that
# was left alone, and does not begin anew.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Background;
use Time::HiRes qw(usleep);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', 'restart_after_crash = on');
$node->start;

# Four phases of 1200 meta-iterations in all.
my $call = q{'answers', task => 'student', target => 'score', order_by => 'nr', algorithm => 'maml',
	options => '{"iterations": 300, "hidden": [32], "patience": 0, "meta_batch": 64, "checkpoint": 0.05, "report": 0}'};
my $total = 1200;
$node->safe_psql(
	'postgres', qq{
	CREATE EXTENSION meta;
	CREATE TABLE answers AS
		SELECT s AS student, n AS nr, (s * 7 + n * 13) % 20 / 10.0 - 1 AS x, s % 11 AS y, s % 7 + (s * 7 + n * 13) % 20 / 5.0 AS score
		FROM generate_series(1, 400) s, generate_series(1, 30) n;
});
Background->allow_holding($node);
my (undef, undef, $progress) = $node->psql('postgres', "CALL meta.train('whole', $call)");
like($progress, qr{NOTICE:  maml: iteration \d+ of 300, loss \d+\.\d{4}, validation \d+\.\d{4}, \d+ tasks/s, at most \d+ s left},
	'progress is told');

# Meta-iterations that were reported so far, all phases together.
my $done = q{SELECT coalesce(sum(last), 0) FROM (
	SELECT max(iteration) AS last FROM meta.history h JOIN meta.model m ON m.id = h.model WHERE m.name = 'killed' GROUP BY phase) p};
is($node->safe_psql('postgres', $done =~ s/killed/whole/r), $total, "an uninterrupted training has $total iterations");

# Runs a statement in the background, kills its server process when $until
# iterations are done, or $hold is reached, and waits for the server to be
# there again.
sub run_and_kill
{
	my ($sql, $until, $hold) = @_;
	my $training = Background->start($node, "SET test.hold = '$hold'", $sql);
	my $pid = '';

	for (1 .. 20 * $PostgreSQL::Test::Utils::timeout_default)
	{
		$pid = $node->safe_psql(
			'postgres', qq{
			SELECT t.pid FROM meta.training t JOIN pg_stat_activity a USING (pid)
			WHERE model = 'killed' AND checkpoint IS NOT NULL AND (($done) >= $until OR wait_event = 'PgSleep')});
		last if $pid ne '' || !$training->at_work;
		usleep(50_000);
	}
	BAIL_OUT('the training was not seen at work') if $pid eq '';
	usleep(int(rand(100_000)));
	kill('KILL', $pid);
	my $said = $training->finish;
	like($said, qr/server closed the connection|terminating connection|crash of another server process/, "killed: beyond iteration $until, or held");
	$node->poll_query_until('postgres', 'SELECT 1', '1') or BAIL_OUT('the server did not come back');
	return $said;
}

my $seed = $ENV{META_TEST_SEED} // time;
srand($seed);
note("META_TEST_SEED=$seed");

run_and_kill("CALL meta.train('killed', $call)", 50 + int(rand(400)), 'cross-fit 2/150');
is( $node->safe_psql('postgres', q{SELECT state, pid IS NULL, checkpoint IS NOT NULL FROM meta.training}),
	'interrupted|t|t', 'what is left is an interrupted training with a checkpoint');
is($node->safe_psql('postgres', q{SELECT count(*) FROM meta.version v JOIN meta.model m ON m.id = v.model WHERE name = 'killed'}),
	'0', '... and no version');
my $first = $node->safe_psql('postgres', $done);

my $err = run_and_kill("CALL meta.resume('killed')", $first + 50 + int(rand(300)), 'maml/200');
my ($phase, $iteration) = $err =~ /going on with (.+) at iteration (\d+) of 300/;
ok(defined $phase && ($phase ne 'pooled' || $iteration > 0), 'it went on: ' . ($err =~ /(going on .*)/)[0]);
my $second = $node->safe_psql('postgres', $done);
cmp_ok($second, '>', $first, "and came from $first to $second");

my ($status, undef, $notices) = $node->psql('postgres', "CALL meta.resume('killed')");
is($status, 0, 'resumed again, it comes to its end');
like($notices, qr/going on with/, '... from where it was: ' . ($notices =~ /(going on .*)/)[0]);

is( $node->safe_psql('postgres', q{SELECT meta.params('killed') = meta.params('whole')}),
	't', 'with the bytes of the uninterrupted training');
# A report is committed with the checkpoint that follows it: had anything been
# done twice that was reported, it would have been reported twice.
is( $node->safe_psql('postgres', qq{
	SELECT count(*), count(DISTINCT (phase, iteration)) FROM meta.history h JOIN meta.model m ON m.id = h.model WHERE name = 'killed'}),
	$node->safe_psql('postgres', qq{
	SELECT count(*), count(DISTINCT (phase, iteration)) FROM meta.history h JOIN meta.model m ON m.id = h.model WHERE name = 'whole'}),
	'and no report was made twice');
is($node->safe_psql('postgres', 'SELECT count(*) FROM meta.training'), '0', 'nothing is interrupted any more');

# The same where the whole server stops at once.
my $training = Background->start($node, q{SET test.hold = 'maml/200'}, "CALL meta.train('killed', $call)");
$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM meta.training WHERE phase <> 'pooled' AND checkpoint IS NOT NULL})
	or BAIL_OUT('the training was not seen at work');
$node->stop('immediate');
$training->finish;
$node->start;
$node->safe_psql('postgres', "CALL meta.resume('killed')");
is( $node->safe_psql('postgres', q{SELECT meta.params('killed', 2) = meta.params('whole')}),
	't', 'the same bytes after an immediate shutdown');

# Trains a model whole, and again with an immediate shutdown once the phase has
# a checkpoint: resumed, it ends with the same bytes.
sub goes_on
{
	my ($name, $training, $phase, $test) = @_;

	$node->safe_psql('postgres', "CALL meta.train('whole $name', $training)");
	my $background = Background->start($node, "SET test.hold = '$phase/300'", "CALL meta.train('$name', $training)");
	$node->poll_query_until('postgres',
		qq{SELECT count(*) > 0 FROM meta.training WHERE phase = '$phase' AND checkpoint IS NOT NULL})
		or BAIL_OUT('the training was not seen at work');
	$node->stop('immediate');
	$background->finish;
	$node->start;
	(undef, undef, $notices) = $node->psql('postgres', "CALL meta.resume('$name')");
	like($notices, qr/going on with $phase at iteration [1-9]/, $test);
	is( $node->safe_psql('postgres', qq{SELECT meta.params('$name') = meta.params('whole $name')}),
		't', '... and ends with the same bytes');
	return;
}

# Answers to items: what is given to the learner, and not in the checkpoint, is
# worked out again.
$node->safe_psql(
	'postgres', q{
	CREATE TABLE items AS
		SELECT s AS student, n AS nr, 'item ' || (s * 17 + n * 13) % 500 AS item,
			((s * 17 + n * 13) % 500 * 7 + s * n % 11 * 30 + s % 7 * 50) % 1000 < 550 AS correct
		FROM generate_series(1, 300) s, generate_series(1, 15) n;
});
my $items = q{'items', task => 'student', target => 'correct', order_by => 'nr', algorithm => 'alpaca',
	options => '{"iterations": 400, "hidden": [32], "patience": 0, "checkpoint": 0.01, "report": 0}'};
goes_on('items', $items, 'alpaca', 'a learner that was given the effects of items goes on');

# Rows of a large table, which are not all at the same step when a checkpoint is made.
$node->safe_psql(
	'postgres', q{
	CREATE TABLE wide AS
		SELECT s AS student, n AS nr, 'item ' || (s * 17 + n * 131) % 2000 AS item, s % 11 AS y,
			s % 7 + (s * 17 + n * 131) % 2000 % 13 / 5.0 AS score
		FROM generate_series(1, 600) s, generate_series(1, 15) n;
});
my $wide = q{'wide', task => 'student', target => 'score', order_by => 'nr', algorithm => 'maml',
	options => '{"iterations": 400, "hidden": [32], "patience": 0, "checkpoint": 0, "encode": {"item": "category"}}'};
goes_on('wide', $wide, 'maml', 'a training with a large table goes on');

# Whole rows, which are learned on when what is predicted no longer gets better:
# here soon, as it is noise.
$node->safe_psql(
	'postgres', q{
	CREATE TABLE noise AS
		SELECT s AS student, n AS nr, (s * 37 + n * 101) % 89 AS a, (s * 37 + n * 101) % 89 * 3 + (s * 7 + n * 13) % 31 AS b,
			('x' || left(md5(s || ' ' || n), 6))::bit(24)::int % 1000 AS score
		FROM generate_series(1, 300) s, generate_series(1, 15) n;
});
my $noise = q{'noise', task => 'student', target => 'score', order_by => 'nr', algorithm => 'vaml',
	options => '{"iterations": 400, "hidden": [32], "meta_batch": 16, "metric": "mae", "patience": 10, "checkpoint": 0}'};
goes_on('noise', $noise, 'vaml', 'a training of whole rows goes on');
is( $node->safe_psql('postgres', q{SELECT (metrics ->> 'best_iteration')::int < 200 AND (metrics ->> 'iterations')::int > 300
		FROM meta.version v JOIN meta.model m ON m.id = v.model WHERE m.name = 'noise'}),
	't', '... that was in that part of it');

is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_ls_tmpdir()}), '0', 'no temporary files are left');

$node->stop;
done_testing();
