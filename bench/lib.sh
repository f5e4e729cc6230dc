# What the benchmarks share.  POSIX shell; the caller has set -eu and stands in
# the project's top folder.
#
# With PGHOST, PGPORT, PGDATABASE or PGSERVICE in the environment they run in
# that database, which must have meta installed; each keeps to a schema of its
# own and leaves it there.  Otherwise they build meta, start a server of their
# own and remove it at the end (see dev/lib.sh).

if [ -n "${PGHOST-}${PGPORT-}${PGDATABASE-}${PGSERVICE-}" ]
then
	say() { printf '%s\n' "$*"; }
	die() { printf '%s\n' "$*" >&2; exit 1; }
	psql=psql
else
	. dev/lib.sh
	psql=
fi

# Makes the database ready: meta is there, and notices are not in the way.
database()
{
	if [ -z "$psql" ]
	then
		make_work
		need_packages build
		relocate_postgresql
		copy_project
		quiet_make install || die "The extension does not build."
		start_server "$@"
		psql=$bindir/psql
	fi
	run -c "SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS meta"
}

# psql that stops at an error; figures only.
run()
{
	"$psql" -X -q -v ON_ERROR_STOP=1 "$@"
}

# One value.
ask()
{
	run -A -t -c "$1"
}

# The median of numbers, one in a line.
median()
{
	sort -n | awk '{ v[NR] = $1 } END { if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# A schema of that name and in it the table r: of each g from FIRST to LAST a row
# of the task g / ROWS, with 32 random inputs and a target that is a coin's.
#	random_rows SCHEMA ROWS FIRST LAST
random_rows()
{
	run <<-END
		SET client_min_messages = warning;
		DROP SCHEMA IF EXISTS $1 CASCADE;
		CREATE SCHEMA $1;
		SELECT setseed(0.5) \g /dev/null
		SELECT 'CREATE TABLE $1.r AS SELECT g / $2 AS task, random() < .5 AS y, '
			   || string_agg(format('(random() * 2 - 1)::real AS x%s', i), ', ' ORDER BY i) || ' FROM generate_series($3, $4) g'
		FROM generate_series(1, 32) i \gexec
	END
}

# What the figures were measured on.
machine()
{
	model=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)
	say "Machine: ${model:-unknown processor}, $(getconf _NPROCESSORS_ONLN) cores, $(awk '/MemTotal/ { printf "%.0f GB", $2 / 1048576 }' /proc/meminfo)"
	say "Server:  PostgreSQL $(ask 'SHOW server_version'), maintenance_work_mem $(ask 'SHOW maintenance_work_mem'), shared_buffers $(ask 'SHOW shared_buffers')"
	say "Date:    $(date -u +%Y-%m-%d)$(git rev-parse --short HEAD 2>/dev/null | sed 's/^/, repository at /')"
	say ""
}

# Runs a script of standard input in psql and puts before each line of output
# the time and the processor time of the backend, both in seconds: what a
# machine does beside it then does not count.  Only for a server on this
# machine.
#
# A line is stamped when it is read, which is some milliseconds late, and lines
# that are read when the backend has ended are left out.  That is good enough
# between two lines of a long training.  What takes less is to be measured by
# the backend itself: "SELECT * FROM pg_temp.clock()" gives the same two numbers.
run_stamped()
{
	{
		cat <<-'END'
			SET client_min_messages = warning;
			CREATE FUNCTION pg_temp.clock(OUT wall float8, OUT cpu float8) LANGUAGE plpgsql VOLATILE AS $$
			DECLARE
				stat text[] := string_to_array(pg_read_file('/proc/' || pg_backend_pid() || '/stat'), ' ');
			BEGIN
				wall := extract(epoch FROM clock_timestamp());
				cpu := (stat[14]::float8 + stat[15]::float8) / :tick;
			END $$;
			RESET client_min_messages;
			SELECT pg_backend_pid() AS pid \gset
			\echo pid :pid
		END
		cat
	} | sed "s/:tick/$(getconf CLK_TCK)/" |
		"$psql" -X -q -A -t -F ' ' -v ON_ERROR_STOP=1 2>&1 |
	{
		read -r _ pid
		while IFS= read -r line
		do
			cpu=$(awk -v tick="$(getconf CLK_TCK)" '{ print ($14 + $15) / tick }' "/proc/$pid/stat" 2>/dev/null) || cpu=
			printf '%s %s %s\n' "$(date +%s.%N)" "${cpu:--}" "$line"
		done
	}
}

# Iterations per second of a phase, by the clock and by processor time, from
# the progress lines of run_stamped.
#	rates PHASE < LOG
rates()
{
	awk -v phase="$1:" '
		$2 != "-" && $4 == phase && $5 == "iteration" { if (!n++) { wall = $1; cpu = $2; first = $6 } last_wall = $1; last_cpu = $2; last = $6 }
		END { if (n < 3 || last_cpu <= cpu) exit 1; printf "%.2f %.2f\n", (last - first) / (last_wall - wall), (last - first) / (last_cpu - cpu) }' ||
		die "Too few progress lines of $1 to tell a rate: make it train for longer."
}
