# Cancel, timeout and termination end a training soon, at whatever it is, and
# leave nothing behind; vacuum is not held back by one; memory and temporary
# files are bounded.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Background;
use Time::HiRes qw(time usleep);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
# its snapshots would hold back vacuum, too
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
$node->safe_psql(
	'postgres', q{
	CREATE EXTENSION meta;
	CREATE TABLE answers AS
		SELECT s AS student, n AS nr, (s * 7 + n * 13) % 20 / 10.0 - 1 AS x, s % 11 AS y, s % 7 + (s * 7 + n * 13) % 20 / 5.0 AS score
		FROM generate_series(1, 3000) s, generate_series(1, 40) n;
});
my $tmp = $node->data_dir . '/base/pgsql_tmp';
my $soon = 3;		# seconds; the machine may be busy

sub temporary_files
{
	opendir my $dir, $tmp or return 0;
	return scalar grep { /^pgsql_tmp/ } readdir $dir;
}

sub one
{
	return $node->safe_psql('postgres', $_[0]);
}

# The training that most of what follows is about, by its name.
my $shape = q{"hidden": [8], "meta_batch": 4, "query": 5, "shots": [0, 5]};
my $train = qq{CALL meta.train('%s', 'answers', 'student', 'score', order_by => 'nr', algorithm => 'maml', options => '{"iterations": 20, $shape}')};
my $endless = qq{CALL meta.train('%s', 'answers', 'student', 'score', order_by => 'nr', algorithm => 'maml',
	options => '{"iterations": 10000000, "patience": 0, $shape, "checkpoint": 0.1}')};

# The least memory that it does with: its rows go through files, so that there
# is something to leave behind.
my $least = 0;
{
	my ($status, $stderr);
	do
	{
		$least++;
		($status, undef, $stderr) = $node->psql('postgres',
			"SET maintenance_work_mem = '${least}MB'; BEGIN; " . sprintf($train, 'least') . '; ROLLBACK');
	} while ($status != 0 && $least < 16 && $stderr =~ /training needs more than \d+ kB of memory/);
	is($status, 0, "$least MB are the least that training takes") or BAIL_OUT($stderr);
}
my $little = "SET maintenance_work_mem = '${least}MB'";

# ---- cancel, timeout, termination, in every state a training can be in

# (A series in FROM would be a file of its own.)
my $many = q{(SELECT i % 100000 AS student, i AS nr, i % 7 AS x, i % 11 AS score FROM (SELECT generate_series(1, 20000000) AS i) s) a};
my %states = (
	loading => {
		sql => qq{CALL meta.train('loading', 'SELECT * FROM $many', 'student', 'score')},
		# the sort has begun
		seen => sub { temporary_files() > 0 } },
	training => {
		sql => sprintf($endless, 'training'),
		seen => sub { one(q{SELECT count(*) > 0 FROM meta.training WHERE state = 'running' AND checkpoint IS NOT NULL}) eq 't' && temporary_files() > 0 } },
	transaction => {
		sql => 'BEGIN; ' . sprintf($endless, 'transaction'),
		seen => sub { one(q{SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'object' AND mode = 'ExclusiveLock' AND classid = 'meta.model'::regclass}) eq 't' && temporary_files() > 0 } },
	# in the midst of one iteration of seconds
	'big step' => {
		memory => '512MB',
		sql => q{CALL meta.train('big step', 'answers', 'student', 'score', algorithm => 'maml',
			options => '{"iterations": 10000, "hidden": [256, 256], "inner_steps": 5, "meta_batch": 4096}')},
		seen => sub { one(q{SELECT count(*) > 0 FROM meta.training WHERE state = 'running' AND checkpoint < clock_timestamp() - interval '0.3 s'}) eq 't' } },
	evaluating => {
		sql => q{SELECT FROM meta.evaluate('trained', source => 'SELECT student + 100000 AS student, x, score FROM answers', shots => '{0,1,5,10,20}')},
		seen => sub { one(q{SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'background' AND query LIKE '%meta.evaluate%' AND state = 'active' AND query_start < clock_timestamp() - interval '0.3 s'}) eq 't' } });

one(qq{CALL meta.train('trained', 'answers', 'student', 'score', features => 'x', algorithm => 'maml', options => '{"iterations": 2, "hidden": [128, 128], "inner_steps": 5, "validation": 0, "test": 0.9}')});

foreach my $state (sort keys %states)
{
	foreach my $by (qw(cancel terminate))
	{
		my $memory = $states{$state}{memory} ? "SET maintenance_work_mem = '$states{$state}{memory}'" : $little;
		my $session = Background->start($node, $memory, $states{$state}{sql});
		my $seen = 0;

		for (1 .. 20 * $PostgreSQL::Test::Utils::timeout_default)
		{
			last if ($seen = $states{$state}{seen}->()) || !$session->at_work;
			usleep(50_000);
		}
		ok($seen, "$state: at it");
		my $start = time;
		one(qq{SELECT pg_${by}_backend(pid) FROM pg_stat_activity WHERE application_name = 'background' AND state = 'active'});
		my $said = $session->finish;
		my $took = time - $start;
		cmp_ok($took, '<', $soon, sprintf('%s: %s within %.1f s', $state, $by, $took));
		like($said, $by eq 'cancel' ? qr/canceling statement due to user request/ : qr/terminating connection due to administrator command/,
			'... with the usual message');
		$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'background'});
		is(temporary_files(), 0, '... and leaves no temporary file');
		is(one(q{SELECT count(*) FROM meta.training WHERE state = 'running'}), '0', '... and no lock');
	}
}
is(one('SELECT string_agg(model, \', \' ORDER BY model) FROM meta.training WHERE checkpoint IS NOT NULL'),
	'big step, training', 'what had come to a checkpoint can be resumed, and nothing else is there');
is(one(q{SELECT string_agg(name, ', ' ORDER BY name) FROM meta.model}), 'big step, trained, training', '... at all');

foreach my $state (qw(loading training))
{
	my $start = time;
	my ($status, undef, $err) = $node->psql('postgres', "$little; SET statement_timeout = '1s'; $states{$state}{sql}");
	my $took = time - $start;
	like($err, qr/canceling statement due to statement timeout/, "$state: statement_timeout");
	cmp_ok($took, '<', 1 + $soon, sprintf('... after %.1f s', $took));
	is(temporary_files(), 0, '... leaves no temporary file');
}

# A session that was canceled can train, and a fast shutdown does not wait.
my ($status, $stdout, $stderr) = $node->psql(
	'postgres', qq{
	$little; SET statement_timeout = '1s';
	$states{training}{sql};
	RESET statement_timeout;
	CALL meta.train('training', 'answers', 'student', 'score', features => 'x', algorithm => 'pooled', options => '{"iterations": 5, "hidden": []}');
	SELECT count(*) FROM meta.version v JOIN meta.model m ON m.id = v.model WHERE name = 'training';
}, on_error_stop => 0);
is($stdout, '1', 'a session whose training was canceled can train again');
my $session = Background->start($node, $little, $states{training}{sql});
$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM meta.training WHERE state = 'running'});
my $start = time;
$node->stop('fast');
cmp_ok(time - $start, '<', 2 * $soon, 'a fast shutdown does not wait for a training');
$session->finish;
$node->start;
is(temporary_files(), 0, '... and leaves no temporary file');

# ---- the option time_limit

{
	my (undef, undef, $stderr) = $node->psql('postgres', sprintf($endless =~ s/"checkpoint"/"time_limit": 0.2, "checkpoint"/r, 'hurried'));
	like(
		$stderr,
		qr/version 1: (?:not )?trained with maml.*HINT:  The option time_limit ended it before its time: CALL meta\.resume\('hurried'\) goes on from there\./s,
		'a training that time_limit ended says how to go on');
	(undef, undef, $stderr) = $node->psql('postgres', sprintf($train, 'unhurried'));
	unlike($stderr, qr/time_limit/, '... and one that ended by itself does not');
	is(one(q{SELECT string_agg(model, ' ') FROM meta.training WHERE state = 'interrupted' AND model LIKE '%hurried'}), 'hurried',
		'... as meta.training has it');
	one(q{DELETE FROM meta.model WHERE name LIKE '%hurried'});
}

# Patience counts the validations that an uninterrupted training makes, however often it stops.
{
	my $patient = qq{CALL meta.train('%s', 'answers', 'student', 'score', order_by => 'nr', algorithm => 'maml',
		options => '{"iterations": 4000, "patience": 3, "outer_lr": 0.02, $shape, "time_limit": %s}')};
	my $interrupted = q{SELECT count(*) FROM meta.training WHERE state = 'interrupted' AND model = 'parts'};
	my $parts = 1;

	one(sprintf($patient, 'whole', 0));
	one(sprintf($patient, 'parts', 0.05));
	while ($parts < 8 && one($interrupted))
	{
		one(q{CALL meta.resume('parts')});
		$parts++;
	}
	one(q{UPDATE meta.model SET options = options || '{"time_limit": 0}' WHERE name = 'parts'});
	cmp_ok($parts, '>', 2, "time_limit ended a training $parts times");
	one(q{CALL meta.resume('parts')});
	is(one(q{SELECT meta.params('parts') = meta.params('whole')}), 't', '... after which it has the bytes of one that it never ended');
	one(q{DELETE FROM meta.model WHERE name IN ('whole', 'parts')});
}

# ---- vacuum

one(q{CREATE TABLE vacuumed AS SELECT * FROM generate_series(1, 10000)});
$session = Background->start($node, $states{training}{sql});
$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM meta.training WHERE state = 'running' AND checkpoint IS NOT NULL});
one('DELETE FROM vacuumed');
my $polls = 20;
my $held = 0;
for (1 .. $polls)
{
	$held += one(q{SELECT count(backend_xmin) FROM pg_stat_activity WHERE application_name = 'background'});
	usleep(50_000);
}
cmp_ok($held, '<', $polls, "a training holds a snapshot at $held of $polls looks at it");
# a table that vacuum could clean is empty afterwards
one('VACUUM vacuumed');
is(one(q{SELECT pg_relation_size('vacuumed')}), '0', 'rows deleted during a training are vacuumed during it');
is(one(q{SELECT count(*) FROM meta.training WHERE state = 'running'}), '1', '... which goes on');
one(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'background'});
$session->finish;

# ---- memory and temporary files

one(q{SET maintenance_work_mem = '256MB'; SET log_temp_files = 0; } . sprintf($train, 'in memory'));
my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile);
unlike($log, qr/temporary file: path/, 'with enough memory no temporary file is used');
one("$little; SET log_temp_files = 0; " . sprintf($train, 'in files'));
$log = PostgreSQL::Test::Utils::slurp_file($node->logfile);
like($log, qr/temporary file: path/, 'with little, there are some');
is(one(q{SELECT meta.params('in memory') = meta.params('in files')}), 't', '... and the same bytes come out');

# A task that is larger than memory, among small ones, whatever the order rows come in.
one(q{CREATE TABLE unequal AS
	SELECT CASE WHEN n % 2 = 0 THEN 0 ELSE n / 10 END AS student, n % 50 AS nr, n * 7919 % 1000 / 500.0 - 1 AS x, n * 31 % 100 AS score
	FROM generate_series(1, 40000) n});
my $unequal = q{CALL meta.train('unequal %s', '%s', 'student', 'score', order_by => '%s', algorithm => 'maml',
	options => '{"iterations": 5, "hidden": [4], "meta_batch": 4, "query": 3, "shots": [0, 3]}')};
foreach my $order (qw(nr x))
{
	one(q{SET maintenance_work_mem = '256MB'; } . sprintf($unequal, 'in memory', 'unequal', $order));
	one(q{SET maintenance_work_mem = '2MB'; } . sprintf($unequal, 'in files', 'SELECT * FROM unequal ORDER BY score, nr DESC', $order));
	is(one(q{SELECT meta.params('unequal in memory') = meta.params('unequal in files')}), 't',
		"a task that does not fit memory, in the order of $order: the same bytes, too");
}

# In one session, nothing stays but the cache of models: after statements that
# ended well and after such that were canceled.
SKIP:
{
	skip 'no pg_backend_memory_contexts here', 4 if $node->pg_version lt '14';

	my $round = "$little;\n" . sprintf($train, 'round') . q{;
		SELECT count(*) FROM meta.evaluate('round', shots => '{0,5}');
		SELECT count(meta.predict(p, r)) FROM (SELECT student, meta.adapt('round', r) AS p FROM answers r WHERE student < 100 GROUP BY student) a
		JOIN answers r USING (student);
		SET statement_timeout = '0.5s';
	} . "$states{loading}{sql};\nSET statement_timeout = '1s';\n$states{training}{sql};\n" . q{
		SELECT count(meta.predict(p, r)) FROM (SELECT student, meta.adapt('round', r) AS p FROM answers r GROUP BY student) a, answers r;
		RESET statement_timeout;
		SELECT 'left: ' || string_agg(DISTINCT name, ', ' ORDER BY name) FROM pg_backend_memory_contexts WHERE name LIKE 'meta%';
		SELECT 'total: ' || sum(total_bytes) FROM pg_backend_memory_contexts;
	};
	($status, $stdout, $stderr) = $node->psql('postgres', $round x 3, on_error_stop => 0);
	my @canceled = $stderr =~ /canceling statement due to statement timeout/g;
	is(scalar @canceled, 9, 'three statements of each round are canceled');
	is_deeply([ $stdout =~ /^left: (.*)$/gm ], [ ('meta model, meta model cache') x 3 ], '... of all that is in memory the cache is left');
	my @total = $stdout =~ /^total: (\d+)$/gm;
	cmp_ok($total[2], '<', $total[1] + 256 * 1024, "... and it does not grow: @total bytes");
	is(temporary_files(), 0, '... nor is there a file');
}

($status, $stdout, $stderr) = $node->psql('postgres', "$little; SET temp_file_limit = '1MB'; " . sprintf($train, 'limited'));
like($stderr, qr/temporary file size exceeds "?temp_file_limit"?/, 'temp_file_limit is respected');
is(temporary_files(), 0, '... and leaves no temporary file');
is(one(q{SELECT count(*) FROM meta.model WHERE name = 'limited'}), '0', '... and no model');

# Whether the sort's files or the packed rows' reach the limit, there is one
# error, and cleaning up after it is none.
my @limits = map { 1024 * $_ } 4 .. 11;
my $offset = -s $node->logfile;
foreach my $limit (@limits)
{
	$node->psql('postgres', "$little; SET temp_file_limit = $limit; " . sprintf($train, 'limited'));
}
$log = substr(PostgreSQL::Test::Utils::slurp_file($node->logfile), $offset);
my @exceeded = $log =~ /ERROR:  temporary file size exceeds "?temp_file_limit"? \((\d+)kB\)/g;
is_deeply(\@exceeded, [ @limits[ 0 .. $#exceeded ] ], 'a limit that is reached is reached once');
cmp_ok(scalar @exceeded, '>', 3, '... at whatever file it is');
unlike($log, qr/while in ABORT state|PANIC/, '... and nothing fails while the transaction aborts');
is(temporary_files(), 0, '... or leaves a temporary file');

($status, $stdout, $stderr) = $node->psql('postgres', q{SET maintenance_work_mem = '1MB';
	CALL meta.train('bounded', 'answers', 'student', 'score', algorithm => 'maml', options => '{"hidden": [512, 512]}')});
like($stderr, qr/training needs more than 1024 kB of memory.*HINT:  Raise maintenance_work_mem/s, 'memory is bounded by maintenance_work_mem');
is(one(q{SELECT count(*) FROM meta.model WHERE name = 'bounded'}), '0', '... before anything is stored');

# The state of a training is several times its parameters, of each network.
SKIP:
{
	skip 'no /proc here', 2 unless -r '/proc/self/status';
	($status, $stdout, $stderr) = $node->psql('postgres', q{
		CALL meta.train('wide', 'answers', 'student', 'score', algorithm => 'maml', options => '{"hidden": [4096, 4096, 4096]}');
		SELECT substring(pg_read_file('/proc/' || pg_backend_pid() || '/status') FROM 'VmHWM:\s*(\d+) kB')::int / 1024},
		on_error_stop => 0);
	like($stderr, qr/training needs more than 65536 kB of memory/, 'parameters that are larger than maintenance_work_mem are refused');
	cmp_ok($stdout, '<', 500, '... before memory is taken for them');
}

$node->stop;
done_testing();
