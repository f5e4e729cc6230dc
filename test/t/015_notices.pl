# What a training says at its end, where the figures are another machine's.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;

# Tasks of slopes of their own, which random_intercept cannot learn, and which
# a learner that is hardly trained does not know either.
my (undef, undef, $stderr) = $node->psql(
	'postgres', q{
	CREATE EXTENSION meta;
	CREATE TABLE lines AS
		SELECT task, nr, x, x * (task * 37 % 101 / 25.0 - 2) AS y
		FROM generate_series(1, 300) task, generate_series(1, 16) nr, LATERAL (SELECT (task * 7 + nr * 13) % 20 / 10.0 - 1 AS x) l;
	CALL meta.train('blend', 'lines', 'task', 'y', features => 'x',
		options => '{"iterations": 200, "hidden": [12], "context": 8, "meta_batch": 16, "outer_lr": 0.005, "shots": [0, 10], "query": 6}')});
my $difference = qr/\d+\.\d % (?:below|above)/;
like($stderr,
	qr/NOTICE:  model "blend", version 1: trained with auto in [\d.]+ s\nDETAIL:  .* blended: on \d+ validation tasks the loss is \d+\.\d % below that of random_intercept alone \(\w+ alone: $difference(?:, \w+ alone: $difference)?\)\.$/,
	'auto says by how much, in words that mean the same in all of its figures');

$node->stop;
done_testing();
