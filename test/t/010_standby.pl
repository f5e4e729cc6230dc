# What a hot standby can do: train by the aggregate, adapt and predict, with
# the bytes and values of its primary.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->start;
$primary->safe_psql(
	'postgres', q{
	CREATE EXTENSION meta;
	CREATE TABLE answers AS
		SELECT i % 1000 AS student, i / 1000 AS nr, i % 7 AS x, i % 1000 % 5 + i % 7 AS score
		FROM generate_series(1, 30000) i;
	CALL meta.train('m', 'answers', task => 'student', target => 'score', order_by => 'nr',
					options => '{"iterations": 5, "hidden": [], "shots": 2, "query": 2}');
});

$primary->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
$standby->start;
my $lsn = $primary->lsn('write');
$primary->wait_for_catchup($standby, 'replay', $lsn);
is($standby->safe_psql('postgres', 'SELECT pg_is_in_recovery()'), 't', 'the standby is one');

# In little memory, so that rows go through temporary files.
my $train = q{SET maintenance_work_mem = '1MB';
	SELECT md5(meta.train(r, 'student', 'score',
		'{"order_by": "nr", "iterations": 5, "hidden": [], "shots": 2, "query": 2}')) FROM answers r};
is($standby->safe_psql('postgres', $train),
	$primary->safe_psql('postgres', q{SELECT md5(meta.params('m'))}),
	'the aggregate trains the model of CALL on a standby');

for my $query (
	q{SELECT md5(meta.adapt('m', r)::text) FROM (SELECT * FROM answers WHERE student < 20 AND nr < 5) r},
	q{SELECT student, meta.predict(meta.params('m'), r) FROM answers r WHERE nr = 1 AND student < 20 ORDER BY 1})
{
	is($standby->safe_psql('postgres', $query), $primary->safe_psql('postgres', $query), "the same on both: $query");
}

my ($status, undef, $error) = $standby->psql('postgres',
	q{CALL meta.train('n', 'answers', task => 'student', target => 'score')});
isnt($status, 0, 'CALL meta.train does not store a model on a standby');
like($error, qr/read-only|during recovery/, '... and says why');

$standby->stop;
$primary->stop;
done_testing();
