# The version stands in meta.control; every other file that names it agrees.

use strict;
use warnings FATAL => 'all';

use JSON::PP;
use Test::More;

sub slurp
{
	my ($name) = @_;
	open my $file, '<', $name or die "$name: $!";
	local $/;
	return <$file>;
}

my ($version) = slurp('meta.control') =~ /^default_version\s*=\s*'([^']+)'/m;
like($version, qr/^\d+\.\d+$/, 'meta.control has a version');

ok(-f "meta--$version.sql", "meta--$version.sql creates that version");

# PGXN wants three numbers, the extension's version is the first two.
my $three = qr/^\Q$version\E\.\d+$/;
my $distribution = decode_json(slurp('META.json'));
like($distribution->{version}, $three, 'META.json is of that version');
is($distribution->{provides}{meta}{version},
	$distribution->{version}, 'META.json provides what it is');
is($distribution->{provides}{meta}{file}, "meta--$version.sql", 'META.json names the script');

my ($newest) = slurp('CHANGELOG.md') =~ /^## (\S+)/m;
is($newest, $distribution->{version}, 'CHANGELOG.md begins with that version');

my @named = slurp('README.md') =~ /\bv(\d+\.\d+\.\d+)\b/g if -f 'README.md';
is_deeply([ grep { $_ ne $distribution->{version} } @named ], [], 'README.md names no other version');

done_testing();
