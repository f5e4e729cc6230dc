# The README keeps in step with the code: its first lines are those that are
# tested, its tables are what the views say, and no object or message is made
# up or left out.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

sub slurp
{
	my ($name) = @_;
	open my $file, '<:encoding(UTF-8)', $name or die "$name: $!";
	local $/;
	return <$file>;
}

my $readme = slurp('README.md');

# the lines that sql/readme.sql runs
my ($printed) = $readme =~ /<!-- readme\.sql -->\n```sql\n(.*?)```/s;
my ($tested) = slurp('sql/readme.sql') =~ /^-- README begins\n(.*?)^-- README ends/ms;
ok(defined $printed && length $printed, 'the README has first lines');
is($printed, $tested, 'and sql/readme.sql runs them as they are printed');

# every link within leads somewhere
my %anchors;
for my $heading ($readme =~ /^#+ (.*)$/mg)
{
	(my $anchor = lc $heading) =~ s/[^\w\- ]//g;
	$anchor =~ tr/ /-/;
	$anchors{$anchor} = 1;
}
is_deeply([ grep { !$anchors{$_} } $readme =~ /\]\(#([^)]*)\)/g ], [], 'links to its own sections');
is_deeply([ grep { !-e $_ } grep { !/^(#|https?:)/ } $readme =~ /\]\(([^)]*)\)/g ], [], 'links to files');

# the algorithm that is taken where none is named
my ($default) = slurp('src/sql/request.c') =~ /#define DEFAULT_ALGORITHM "(\w+)"/;
ok(defined $default, 'there is a default algorithm');
like($readme, qr/Without it, it is `\Q$default\E`/, 'and the README names it');

# every message in the troubleshooting tables is one of ours; placeholders of
# either side become the same character
my %messages;
for my $file (glob('src/*.c src/*/*.c'))
{
	my $code = slurp($file);

	while ($code =~ /errmsg\(((?:\s*"(?:[^"\\]|\\.)*"|\s*INT64_FORMAT)+)/g)
	{
		my $text = $1;
		$text =~ s/INT64_FORMAT/"%d"/g;
		$text = join '', $text =~ /"((?:[^"\\]|\\.)*)"/g;
		$text =~ s/\\(.)/$1/g;
		$text =~ s/%[-.*0-9]*(?:l|ll|z)?[a-z]/\x{2026}/g;
		$messages{$text} = 1;
	}
}
cmp_ok(scalar keys %messages, '>', 80, 'messages were found in the code');
my ($troubles) = $readme =~ /^## Troubleshooting\n(.*?)^\*\*Building/ms;
my @troubles = $troubles =~ /^\| `([^`]+)` \|/mg;
cmp_ok(scalar @troubles, '>', 30, 'the README names messages');
is_deeply([ grep { !$messages{$_} } @troubles ], [], 'which the code raises');

# tables of the reference
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION meta');

sub table
{
	my ($heading) = @_;
	my ($section) = $readme =~ /^### \Q$heading\E\n(.*?)(?=^#)/ms;
	return join "\n", grep { /^\| `/ } split /\n/, $section;
}

is(table('Options'), $node->safe_psql('postgres', q{
	SELECT format('| `%s` | `%s` | %s | %s |', option, "default",
				  CASE WHEN choices IS NOT NULL THEN '`' || array_to_string(choices, '`, `') || '`'
					   WHEN type = 'array of integers' THEN format('each %s to %s', low::text::numeric, high::text::numeric)
					   WHEN low IS NOT NULL THEN format('%s to %s', low::text::numeric, high::text::numeric)
					   ELSE type END, meaning)
	FROM meta.options}), 'options are those of meta.options');

is(table('Algorithms'), $node->safe_psql('postgres', q{
	SELECT format('| `%s` | %s | %s | %s |', algorithm, summary, coalesce(reference, ''),
				  CASE WHEN defaults = '{}' THEN '' ELSE format('`%s`', defaults) END)
	FROM meta.algorithms}), 'algorithms are those of meta.algorithms');

# what adapting to a task takes, of every algorithm
$node->safe_psql('postgres', q{
	CREATE SCHEMA sizes;
	SET search_path = sizes;
	CREATE TABLE answers AS
	SELECT task, row, cos(task * row) AS x1, cos(2.1 * task * row) AS x2, cos(3.2 * task * row) AS x3, cos(4.3 * task * row) AS x4,
		   cos(5.4 * task * row) AS x5, cos(6.5 * task * row) AS x6, cos(7.6 * task * row) AS x7, cos(8.7 * task * row) AS x8,
		   cos(9.8 * task * row) AS x9, cos(0.9 * task * row) AS x10, sin(task) + sin(row) AS number, sin(task) + sin(row) > 0 AS boolean
	FROM generate_series(1, 40) task, generate_series(1, 10) row;
	CREATE TABLE size (algorithm text, target text, bytes integer);
	DO $do$
	DECLARE
		a text;
		t text;
	BEGIN
		FOR a, t IN SELECT algorithm, target FROM meta.algorithms, (VALUES ('number'), ('boolean')) v (target) LOOP
			BEGIN
				CALL meta.train('sized', 'sizes.answers', task => 'task', target => t, features => 'x1, x2, x3, x4, x5, x6, x7, x8, x9, x10',
								algorithm => a, options => '{"iterations": 1}');
				INSERT INTO size SELECT a, t, octet_length(meta.adapt('sized', r)) FROM answers r WHERE task = 1;
			EXCEPTION WHEN feature_not_supported THEN
				NULL;			-- it does not learn such targets
			END;
		END LOOP;
	END $do$});
is(table('Params of a task'), $node->safe_psql('postgres', q{
	SELECT format('| `%s` | %s | %s |', algorithm, coalesce(max(bytes) FILTER (WHERE target = 'number')::text, '-'),
				  coalesce(max(bytes) FILTER (WHERE target = 'boolean')::text, '-'))
	FROM (SELECT algorithm, row_number() OVER () AS place FROM meta.algorithms) a LEFT JOIN sizes.size USING (algorithm)
	GROUP BY algorithm, place ORDER BY place}), 'bytes of task params');

# names of what users call and read, as the README writes them in its tables
my $reference = join "\n", $readme =~ /^### Procedures and functions\n(.*?)^### Algorithms/ms;
is($node->safe_psql('postgres', q{
	SELECT DISTINCT 'meta.' || name FROM (
		SELECT proname FROM pg_proc
		WHERE pronamespace = 'meta'::regnamespace AND prorettype <> 'trigger'::regtype
			  AND obj_description(oid, 'pg_proc') !~ '^(part of|the rows of)'
		UNION
		SELECT relname FROM pg_class WHERE relnamespace = 'meta'::regnamespace AND relkind IN ('r', 'v')) o (name)
	ORDER BY 1}),
	join("\n", sort keys %{ { map { $_ => 1 } $reference =~ /`(?:CALL )?(meta\.\w+)(?:\(|`)/g } }),
	'objects are those of the extension');

for my $table (qw(model version history checkpoint))
{
	my ($columns) = $reference =~ /^\| `meta\.$table` \| [^:]*: (.*) \|$/m;
	is(join(', ', $columns =~ /`(\w+)`/g), $node->safe_psql('postgres', qq{
		SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
		WHERE attrelid = 'meta.$table'::regclass AND attnum > 0 AND NOT attisdropped}),
		"columns of meta.$table");
}

$node->stop;
done_testing();
