# What dev/demo and dev/test share: packages, a copy of PostgreSQL to install
# into, a throw-away server, and an end that leaves nothing.  POSIX shell; the
# caller has set -eu and stands in the project's top folder.
#
# Nothing on the machine is changed but for packages that are missing.  All
# else happens in one temporary folder ($work):
#
#	$work/pg		PostgreSQL, its programs copied and the rest linked, so
#					that "make install" has a place of its own
#	$work/meta		a copy of the project, built there
#	$work/db		the server's data, $work/socket its socket; no TCP
#	$work/shared	a link to ../shared, where that exists
#
# PostgreSQL refuses to run as root, so root builds and runs as "nobody": a
# user who could not reach an existing cluster's files if he wanted to.

say() { printf '%s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }

# Settings of another server must not reach ours (PG_CONFIG is not one).
for name in $(env | sed -n 's/^\(PG[A-Z]*\)=.*/\1/p'); do unset "$name"; done

# The same messages, sort order and encoding everywhere.
unset LANGUAGE
if locale -a 2>/dev/null | grep -q '^C\.utf8$'
then export LC_ALL=C.UTF-8
else export LC_ALL=C
fi

# ---- the end -------------------------------------------------------------

work=
child=						# process of a test that is running
policy=						# our policy-rc.d, while packages are installed
createcluster=				# the saved createcluster.conf, likewise

finish()
{
	status=$?
	trap - EXIT
	trap '' HUP INT PIPE TERM
	[ -z "$child" ] || { kill "$child" && wait "$child"; } 2>/dev/null || :
	stop_server
	restore_system
	[ -z "$work" ] || rm -rf "$work"
	exit "$status"
}

trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM

# ---- packages ------------------------------------------------------------

as_root()
{
	if [ "$(id -u)" -eq 0 ]
	then "$@"
	else sudo "$@"
	fi
}

# The major version that this system's "postgresql" package stands for.
packaged_version()
{
	apt-cache show postgresql 2>/dev/null | sed -n 's/^Depends:.*postgresql-\([0-9][0-9]*\).*/\1/p' | head -n 1
}

# Is the PostgreSQL of a pg_config complete: server, client, what extensions
# are built and tested with?
complete()
{
	bindir=$("$1" --bindir 2>/dev/null) || return 1
	[ -x "$bindir/initdb" ] && [ -x "$bindir/postgres" ] && [ -x "$bindir/psql" ] &&
		[ -f "$("$1" --pgxs)" ] && [ -f "$("$1" --includedir-server)/postgres.h" ]
}

# Sets pg_config to PG_CONFIG, or else to the newest complete PostgreSQL.
find_postgresql()
{
	if [ -n "${PG_CONFIG-}" ]
	then
		pg_config=$(command -v "$PG_CONFIG") || die "PG_CONFIG names $PG_CONFIG, which is not there."
		complete "$pg_config" || die "The PostgreSQL of $PG_CONFIG lacks its server, psql, or the files for building extensions."
		return 0
	fi
	for pg_config in $(ls -d /usr/lib/postgresql/*/bin/pg_config 2>/dev/null | sort -t / -k 5,5nr) pg_config
	do
		command -v "$pg_config" >/dev/null && complete "$pg_config" && return 0
	done
	return 1
}

# Sets missing to the packages without which "$@" (build, test) cannot be done.
find_missing()
{
	missing=
	command -v gcc >/dev/null && [ -f /usr/include/stdio.h ] || missing="$missing gcc libc6-dev"
	command -v make >/dev/null || missing="$missing make"
	ls /usr/lib/*/openblas-serial/libopenblas.so >/dev/null 2>&1 || missing="$missing libopenblas-serial-dev"
	if ! find_postgresql
	then
		major=$(ls -d /usr/lib/postgresql/*/bin/postgres 2>/dev/null | cut -d / -f 5 | sort -n | tail -n 1)
		[ -n "$major" ] || major=$(packaged_version)
		missing="$missing postgresql-${major:-15} postgresql-server-dev-${major:-15}"
	fi
	for need in "$@"
	do
		[ "$need" != test ] || perl -MTest::More -MIPC::Run -e 1 2>/dev/null || missing="$missing perl libipc-run-perl"
	done
}

# Installing must neither create nor start nor restart a server.
quieten_system()
{
	if [ ! -e /usr/sbin/policy-rc.d ]
	then
		policy=/usr/sbin/policy-rc.d
		printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
		as_root chmod 755 "$policy"
	fi
	conf=/etc/postgresql-common/createcluster.conf
	case $missing in
	*postgresql-[0-9]*)
		# The file belongs to a package of its own, which comes first.
		apt_install postgresql-common
		createcluster=$conf.saved-by-meta
		as_root cp -p "$conf" "$createcluster"
		echo 'create_main_cluster = false' | as_root tee -a "$conf" >/dev/null
		;;
	esac
}

restore_system()
{
	[ -z "$policy" ] || as_root rm -f "$policy"
	policy=
	[ -z "$createcluster" ] || as_root mv "$createcluster" "${createcluster%.saved-by-meta}"
	createcluster=
}

apt_install()
{
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends --no-upgrade install "$@" \
		>"$work/apt.log" 2>&1 </dev/null || { cat "$work/apt.log" >&2; die "Installing $* failed."; }
}

# Installs what is missing for building, and for "test" if that is given.
need_packages()
{
	find_missing "$@"
	[ -n "$missing" ] || return 0
	command -v apt-get >/dev/null || die "Missing:$missing (names of Debian packages), and there is no apt-get to install them."
	[ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null || die "Missing:$missing. Install them, or run this as root."
	as_root apt-get -qq update >"$work/apt.log" 2>&1 || { cat "$work/apt.log" >&2; die "apt-get update failed."; }
	find_missing "$@"		# now that the newest version is known
	say "Installing$missing"
	quieten_system
	# shellcheck disable=SC2086
	apt_install $missing
	restore_system
	find_missing "$@"
	[ -z "$missing" ] || die "Still missing after installing:$missing"
}

# ---- building ------------------------------------------------------------

# Runs a command as the user who builds and runs the server; env, because
# HOME of "nobody" does not exist.
as_user()
{
	$user env HOME="$work" "$@"
}

make_work()
{
	work=$(mktemp -d "${TMPDIR:-/tmp}/meta-XXXXXX")
	chmod 755 "$work"
	mkdir "$work/pg" "$work/meta" "$work/db" "$work/socket"
	user=
	[ "$(id -u)" -ne 0 ] || user="setpriv --reuid=nobody --regid=$(id -g nobody) --clear-groups"
	[ ! -d ../shared ] || ln -s "$(cd ../shared && pwd)" "$work/shared"
}

give_to_user()
{
	[ "$(id -u)" -ne 0 ] || chown -R -h nobody "$@"
}

# Sets pg_config to a PostgreSQL of our own.  Its programs find everything
# else by paths relative to themselves, so the folders keep their full names
# below $work/pg, and the programs themselves must be copies.  Installing
# then needs no rights, and a server that happens to use the same PostgreSQL
# never sees an unfinished meta.
relocate_postgresql()
{
	bindir=$("$pg_config" --bindir)
	pkglibdir=$("$pg_config" --pkglibdir)
	sharedir=$("$pg_config" --sharedir)
	mkdir -p "$work/pg$bindir" "$work/pg$pkglibdir" "$work/pg$sharedir"
	cp -L "$bindir"/* "$work/pg$bindir"
	cp -as "$pkglibdir/." "$work/pg$pkglibdir"
	cp -as "$sharedir/." "$work/pg$sharedir"
	rm -f "$work/pg$pkglibdir/meta.so" "$work/pg$sharedir"/extension/meta.control "$work/pg$sharedir"/extension/meta--*
	for dir in "$("$pg_config" --libdir)" "$("$pg_config" --pkgincludedir)" "$("$pg_config" --includedir)"
	do
		mkdir -p "$work/pg$dir"
		for entry in "$dir"/libpq* "$dir"/libpg* "$dir"/*.h "$dir"/internal "$dir"/server "$dir"/[1-9]*
		do
			[ ! -e "$entry" ] || [ -e "$work/pg$entry" ] || ln -s "$entry" "$work/pg$entry"
		done
	done
	pg_config=$work/pg$bindir/pg_config
	bindir=$work/pg$bindir
	[ "$("$pg_config" --pkglibdir)" = "$work/pg$pkglibdir" ] ||
		die "The PostgreSQL of $bindir cannot be copied to another place: pg_config still says $("$pg_config" --pkglibdir)."
	give_to_user "$work"
}

# A clean copy of what is in the tree, without what was built in it.
copy_project()
{
	tar c --exclude=./.git --exclude='*.o' --exclude='*.bc' --exclude='*.so' --exclude=./build \
		--exclude=./test/unit/build --exclude=./results --exclude=./output_iso --exclude=./tmp_check . |
		tar x -C "$work/meta"
	give_to_user "$work/meta"
}

# make in the project's copy; silent, unless it fails.
quiet_make()
{
	as_user make -s -C "$work/meta" PG_CONFIG="$pg_config" -j "$(nproc)" "$@" >"$work/make.log" 2>&1 </dev/null ||
		{ tail -n 60 "$work/make.log" >&2; return 1; }
}

# ---- the server ----------------------------------------------------------

# start_server [setting=value ...]
start_server()
{
	as_user "$bindir/initdb" -D "$work/db" -U postgres -A trust --no-locale -E UTF8 --no-sync >"$work/initdb.log" 2>&1 ||
		{ cat "$work/initdb.log" >&2; die "initdb failed."; }
	{
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$work/socket'"
		echo "fsync = off"			# it lives as long as this script
		for setting in "$@"; do echo "$setting"; done
	} >>"$work/db/postgresql.conf"
	as_user "$bindir/pg_ctl" -D "$work/db" -l "$work/server.log" -w start >"$work/pg_ctl.log" 2>&1 </dev/null ||
		{ cat "$work/pg_ctl.log" "$work/server.log" >&2; die "The server did not start."; }
	export PGHOST="$work/socket" PGUSER=postgres PGDATABASE=postgres
}

stop_server()
{
	[ -n "$work" ] && [ -f "$work/db/postmaster.pid" ] || return 0
	as_user "$bindir/pg_ctl" -D "$work/db" -m immediate -w stop >/dev/null 2>&1 || :
}
