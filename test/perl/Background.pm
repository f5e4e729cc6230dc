# Statements at work in a session of their own, while a test looks at them.
#
#	my $training = Background->start($node, 'SET ...', 'CALL meta.train(...)');
#	... $training->at_work ...
#	my $said = $training->finish;
#
# What is looked at must still be there when a fast machine's test comes to
# look: it has no end (a million meta-iterations), or it is held.  A session
# that has said SET test.hold = 'PHASE/ITERATION' comes no further than to the
# reports of that iteration, which it waits to store until it is ended.

package Background;

use strict;
use warnings FATAL => 'all';

use IPC::Run;
use PostgreSQL::Test::Utils;

# Lets trainings in the database postgres be held.
sub allow_holding
{
	my ($class, $node) = @_;

	$node->safe_psql(
		'postgres', q{
		CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM pg_catalog.pg_sleep(86400);
			RETURN new;
		END $$;
		CREATE TRIGGER hold BEFORE INSERT ON meta.history FOR EACH ROW
			WHEN (new.phase = split_part(current_setting('test.hold', true), '/', 1)
				  AND new.iteration >= split_part(current_setting('test.hold', true), '/', 2)::integer)
			EXECUTE FUNCTION hold();
	});
	return;
}

# Each statement is a query of its own: together they would be a transaction
# block.  What the session says goes to a file, for nobody reads a pipe
# meanwhile, and one that is full makes it wait.
sub start
{
	my ($class, $node, @sql) = @_;
	my $said = PostgreSQL::Test::Utils::tempdir() . '/said';
	my $timeout = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default);
	my $run = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres') . ' application_name=background', map { ('-c', $_) } @sql ],
		'<', \undef, '>', $said, '2>&1', $timeout);

	return bless { run => $run, said => $said, timeout => $timeout }, $class;
}

sub at_work
{
	my ($self) = @_;

	return $self->{run}->pumpable;
}

# Waits for the session's end, which something has brought about, and tells
# what it said.
sub finish
{
	my ($self) = @_;

	$self->{timeout}->start;
	IPC::Run::finish($self->{run});
	return PostgreSQL::Test::Utils::slurp_file($self->{said});
}

1;
