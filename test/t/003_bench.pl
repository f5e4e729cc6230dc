# The programs of bench/ still compile and link, in the way that its scripts
# compile them: nothing else would tell before somebody measures.

use strict;
use warnings FATAL => 'all';

use File::Temp qw(tempdir);
use Test::More;

my $dir = tempdir(CLEANUP => 1);

my %how;
for my $script (glob 'bench/*.sh')
{
	open my $file, '<', $script or die "$script: $!";
	while (<$file>)
	{
		$how{$2} = $1 if /\b(core_program|blas_program) bench\/(\w+)\.c\b/;
	}
}

for my $source (glob 'bench/*.c')
{
	my ($name) = $source =~ /(\w+)\.c$/;
	next unless ok($how{$name}, "a script compiles $source");
	# without optimising, which is most of the time
	my $output = `set -eu; { . bench/core.sh; $how{$name} $source $dir/$name -O0; } 2>&1`;
	is($? >> 8, 0, "$source becomes a program") or diag($output);
}

done_testing();
