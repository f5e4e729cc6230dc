# Models elsewhere: in a database restored from a dump, and on a standby.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->start;

# Two models, one of them another role's and trained twice, and a training
# that was interrupted by an error.
my $options = q{options => '{"iterations": 40, "patience": 0, "hidden": [8], "checkpoint": 0}'};
$node->safe_psql(
	'postgres', qq{
	CREATE ROLE "Ada L.";
	CREATE DATABASE school;
	\\c school
	CREATE EXTENSION meta;
	CREATE TABLE answers AS
		SELECT s AS student, n AS nr, (s * 7 + n * 13) % 20 / 10.0 - 1 AS x, chr(97 + (s + n) % 5) AS skill, s % 7 + (s * 7 + n * 13) % 20 / 5.0 AS score
		FROM generate_series(1, 60) s, generate_series(1, 12) n;
	GRANT SELECT ON answers TO "Ada L.";
	CALL meta.train('one', 'answers', 'student', 'score', order_by => 'nr', algorithm => 'maml', $options);
	SET ROLE "Ada L.";
	CALL meta.train('ada''s', 'answers', 'student', 'skill', algorithm => 'fomaml', $options);
	CALL meta.train('ada''s', 'answers', 'student', 'skill', algorithm => 'fomaml', $options);
	RESET ROLE;
	CREATE TABLE params AS SELECT student, meta.adapt('one', a) AS params FROM answers a GROUP BY 1;
	CREATE FUNCTION interrupt() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN RAISE EXCEPTION 'interrupted'; END \$\$;
	CREATE TRIGGER interrupt BEFORE INSERT ON meta.history FOR EACH ROW
		WHEN (new.phase = 'cross-fit 2' AND new.iteration = 20) EXECUTE FUNCTION interrupt();
	\\set ON_ERROR_STOP 0
	CALL meta.train('stopped', 'answers', 'student', 'score', order_by => 'nr', algorithm => 'maml', $options);
	\\set ON_ERROR_STOP 1
	DROP TRIGGER interrupt ON meta.history;
});

my %queries = (
	'the models' => q{SELECT m.name, m.owner, m.trained_by, m.source, m.options, m.created, v.version, v.digest, v.trained, v.metrics, v.source, v.trained_by, md5(v.params)
		FROM meta.model m LEFT JOIN meta.version v ON v.model = m.id ORDER BY 1, 7},
	'their history' => q{SELECT m.name, h.* FROM meta.history h JOIN meta.model m ON m.id = h.model ORDER BY m.name, h.version, h.at},
	'what is interrupted' => q{SELECT model, state, phase, iteration, checkpoint FROM meta.training},
	'predictions' => q{SELECT md5(string_agg(meta.predict('one', a)::text, ' ' ORDER BY student, nr)) FROM answers a},
	'predictions by stored params' => q{SELECT md5(string_agg(meta.predict(params, a)::text, ' ' ORDER BY student, nr)) FROM answers a JOIN params USING (student)},
	'adapting' => q{SELECT bool_and(p.params = a.params) FROM params p JOIN (SELECT student, meta.adapt('one', a) AS params FROM answers a GROUP BY 1) a USING (student)},
	'classes' => q{SELECT md5(string_agg(meta.classify('ada''s', a), ' ' ORDER BY student, nr)) FROM answers a},
	'evaluating' => q{SELECT md5(string_agg(e::text, ' ')) FROM meta.evaluate('one', shots => '{0,5}') e});

# ---- dump and restore

my $dump = PostgreSQL::Test::Utils::tempdir . '/school.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr('school') ], 'a database with models is dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-Xqv', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $dump ], '... and restored');
foreach my $what (sort keys %queries)
{
	my $expected = $node->safe_psql('school', $queries{$what});

	isnt($expected, '', "$what: there is something");
	is($node->safe_psql('restored', $queries{$what}), $expected, '... and it is the same in the restored database');
}

$node->safe_psql('restored', q{CALL meta.resume('stopped')});
is( $node->safe_psql('restored', q{SELECT meta.params('stopped') = meta.params('one')}),
	't', 'an interrupted training goes on in the restored database, to the same bytes');
is( $node->safe_psql('restored', q{SELECT count(*) = count(DISTINCT (phase, iteration)) FROM meta.history h JOIN meta.model m ON m.id = h.model WHERE name = 'stopped'}),
	't', '... and does nothing twice');
$node->safe_psql('restored', qq{
	CALL meta.train('one', 'answers', 'student', 'score', order_by => 'nr', algorithm => 'maml', $options);
	CALL meta.train('new', 'answers', 'student', 'score', order_by => 'nr', algorithm => 'maml', $options);
});
is( $node->safe_psql('restored', q{SELECT meta.params('one', 2) = meta.params('one', 1), meta.params('new') = meta.params('one')}),
	't|t', 'models are trained again and anew there, to the same bytes');
is( $node->safe_psql('restored', q{SET ROLE "Ada L."; SELECT string_agg(name, ', ') FROM meta.model}),
	q{ada's}, 'and every role sees its own');

# From one encoding to another, in which the labels' bytes have another order.
$node->safe_psql(
	'postgres', qq{
	CREATE DATABASE cyrillic ENCODING 'WIN1251' LOCALE 'C' TEMPLATE template0;
	CREATE DATABASE unicode ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0;
	\\c cyrillic
	SET client_encoding = 'UTF8';
	CREATE EXTENSION meta;
	CREATE TABLE answers AS
		SELECT 'ученик ' || s AS student, n AS nr, (ARRAY['ёж', 'волк', 'Ягуар', 'лиса', 'їжак', 'жук', 'рысь', 'лось', 'Іволга', 'ёрш'])[(s * n) % 10 + 1] AS animal,
			s % 7 + (s * 7 + n * 13) % 20 / 5.0 AS score
		FROM generate_series(1, 60) s, generate_series(1, 12) n;
	CALL meta.train('letters', 'answers', 'student', 'score', order_by => 'nr', algorithm => 'fomaml', $options);
});
my $cyrillic = PostgreSQL::Test::Utils::tempdir . '/cyrillic.sql';
$node->command_ok([ 'pg_dump', '-f', $cyrillic, '-d', $node->connstr('cyrillic') ], 'a database of another encoding is dumped');
$node->command_ok([ 'psql', '-Xqv', 'ON_ERROR_STOP=1', '-d', $node->connstr('unicode'), '-f', $cyrillic ], '... and restored in UTF-8');
my %letters = (
	'labels' => q{SELECT e -> 'labels' FROM jsonb_array_elements(meta.describe('letters') -> 'encoders') e},
	'predictions' => q{SELECT sum(meta.predict('letters', a)) FROM answers a},
	'the tasks that it was not trained on' => q{SELECT shots, method, metric, tasks, value FROM meta.evaluate('letters', shots => '{0,5}')},
	'the tasks that it has not seen' => q{SELECT max(tasks) FROM meta.evaluate('letters', 'SELECT * FROM answers', shots => '{0}')});
foreach my $what (sort keys %letters)
{
	my $expected = $node->safe_psql('cyrillic', "SET client_encoding = 'UTF8'; $letters{$what}");

	isnt($expected, '', "$what: there is something");
	is($node->safe_psql('unicode', "SET client_encoding = 'UTF8'; $letters{$what}"), $expected, '... and it is the same in UTF-8');
}

# One's own database, by a role that is no superuser.
$node->safe_psql('postgres', 'CREATE ROLE janitor LOGIN');
$node->safe_psql('postgres', 'CREATE DATABASE own OWNER janitor');
$node->safe_psql('own', q{
	CREATE EXTENSION meta;
	INSERT INTO meta.model (name, task, target, algorithm) VALUES ('of others', 'a', 'b', 'maml');
	SET ROLE janitor;
	INSERT INTO meta.model (name, task, target, algorithm) VALUES ('of the janitor', 'a', 'b', 'maml')});
my $own = PostgreSQL::Test::Utils::tempdir . '/own.sql';
$node->command_ok([ 'pg_dump', '--enable-row-security', '-U', 'janitor', '-f', $own, '-d', $node->connstr('own') ], 'who is no superuser can dump, too');
like(slurp_file($own), qr/^COPY meta\.model .*^\d+\tof the janitor\t/ms, '... what is their own');
unlike(slurp_file($own), qr/of others/, '... and no more');

# ---- a standby

$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
my $lsn = $node->lsn('write');
$node->wait_for_catchup($standby, 'replay', $lsn);
foreach my $what (sort keys %queries)
{
	is($standby->safe_psql('school', $queries{$what}), $node->safe_psql('school', $queries{$what}), "$what: the same on a standby");
}
my ($status, $stdout, $stderr) = $standby->psql('school', q{CALL meta.train('n', 'answers', 'student', 'score')});
like($stderr, qr/cannot execute CALL meta\.train in a read-only transaction\n.*standby.*\n.*HINT:  The aggregate meta\.train/,
	'CALL meta.train says that a standby cannot, and what can');
($status, $stdout, $stderr) = $standby->psql('school', q{CALL meta.resume('stopped')});
like($stderr, qr/cannot execute CALL meta\.resume in a read-only transaction/, 'and so does CALL meta.resume');
# a training is seen at its primary's standby, and once promoted it can go on there
$standby->promote;
$standby->safe_psql('school', q{CALL meta.resume('stopped')});
is( $standby->safe_psql('school', q{SELECT meta.params('stopped') = meta.params('one')}),
	't', 'after a failover, an interrupted training goes on, to the same bytes');

$standby->stop;
$node->stop;
done_testing();
