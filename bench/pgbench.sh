#!/bin/sh
# Adapt-and-predict transactions: a student's ten rows are adapted on and another
# is predicted, by pgbench with 1, 8 and 32 clients, and by a Python service that
# reads the same rows from the same database and does the same with PyTorch.
#
#	bench/pgbench.sh [seconds]		(default: 10, for each line)
#
# Network 32-64-64-1, 5 inner steps.  The service is one process of one torch
# thread with a thread per client, each with a connection of its own; requests
# do not travel to it, which is in its favour.  Its network has random weights:
# only time is compared.

set -eu
cd "$(dirname "$0")/.."
. bench/lib.sh
seconds=${1:-10}
database
machine
bin=$(dirname "$(command -v "$psql")")
pgbench=$bin/pgbench
[ -x "$pgbench" ] || pgbench=pgbench
say "Load:    $(cut -d ' ' -f 1-3 /proc/loadavg)"

run <<-'END'
	SET client_min_messages = warning;
	DROP SCHEMA IF EXISTS bench_pgbench CASCADE;
	CREATE SCHEMA bench_pgbench;
	SELECT setseed(0.5) \g /dev/null
	SELECT 'CREATE TABLE bench_pgbench.r AS SELECT g / 11 AS student, g % 11 AS place, random() < .5 AS correct, '
		   || string_agg(format('(random() * 2 - 1)::real AS x%s', i), ', ' ORDER BY i) || ' FROM generate_series(11, 220010) g'
	FROM generate_series(1, 32) i \gexec
	CREATE INDEX ON bench_pgbench.r (student);
	VACUUM ANALYZE bench_pgbench.r;
	CALL meta.train('bench.pgbench', 'SELECT * FROM bench_pgbench.r WHERE student <= 500', task => 'student', target => 'correct', algorithm => 'maml',
					options => '{"iterations": 50, "shots": 5, "query": 5, "exclude": ["place"]}');
END

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat >"$dir/script.sql" <<-'END'
	\set id random(1, 20000)
	SELECT meta.predict(p, r) FROM (SELECT meta.adapt('bench.pgbench', s) AS p FROM bench_pgbench.r s WHERE student = :id AND place < 10) a, bench_pgbench.r r WHERE student = :id AND place = 10;
END

say "| clients | | transactions/s | p50, ms | p99, ms |"
say "|---|---|---|---|---|"
for clients in 1 8 32
do
	rm -f "$dir"/log.*
	"$pgbench" -n -M prepared -c "$clients" -j 2 -T "$seconds" -f "$dir/script.sql" -l --log-prefix="$dir/log" >"$dir/out" 2>&1 || { cat "$dir/out"; exit 1; }
	tps=$(awk '/^tps/ { print $3; exit }' "$dir/out")
	cat "$dir"/log.* | awk '{ print $3 }' | sort -n >"$dir/latencies"
	awk -v clients="$clients" -v tps="$tps" '{ l[NR] = $1 } END { printf "| %d | meta, pgbench | %.0f | %.2f | %.2f |\n", clients, tps, l[int(NR * .5) + 1] / 1000, l[int(NR * .99) + 1] / 1000 }' "$dir/latencies"
	if python3 -c 'import torch, psycopg2' 2>/dev/null
	then
		python3 - "$clients" "$seconds" <<-'END'
			import random, sys, threading, time
			import psycopg2, torch
			import torch.nn.functional as F

			torch.set_num_threads(1)
			clients, seconds = int(sys.argv[1]), float(sys.argv[2])
			shapes = [(64, 32), (64,), (64, 64), (64,), (1, 64), (1,)]
			theta = [torch.randn(s) * (0.1 if len(s) > 1 else 0) for s in shapes]
			columns = ', '.join('x%d' % i for i in range(1, 33))

			def forward(x, w):
			    return F.linear(F.relu(F.linear(F.relu(F.linear(x, w[0], w[1])), w[2], w[3])), w[4], w[5])

			def serve(connection, id):
			    cursor = connection.cursor()
			    cursor.execute('SELECT place, correct, ' + columns + ' FROM bench_pgbench.r WHERE student = %s', (id,))
			    rows = sorted(cursor.fetchall())
			    x = torch.tensor([r[2:] for r in rows])
			    y = torch.tensor([[float(r[1])] for r in rows])
			    w = [t.clone().requires_grad_() for t in theta]
			    for _ in range(5):
			        loss = F.binary_cross_entropy_with_logits(forward(x[:10], w), y[:10])
			        w = [(t - 0.01 * g).detach().requires_grad_() for t, g in zip(w, torch.autograd.grad(loss, w))]
			    with torch.no_grad():
			        return torch.sigmoid(forward(x[10:], w)).item()

			latencies, until = [], time.time() + seconds
			def client(seed):
			    rng = random.Random(seed)
			    connection = psycopg2.connect('')
			    connection.autocommit = True
			    while time.time() < until:
			        start = time.time()
			        serve(connection, rng.randint(1, 20000))
			        latencies.append(time.time() - start)

			threads = [threading.Thread(target=client, args=(i,)) for i in range(clients)]
			[t.start() for t in threads]
			[t.join() for t in threads]
			latencies.sort()
			n = len(latencies)
			print('| %d | Python service, PyTorch | %.0f | %.2f | %.2f |' % (clients, n / seconds, 1e3 * latencies[n // 2], 1e3 * latencies[int(n * .99)]))
		END
	fi
done
python3 -c 'import torch, psycopg2' 2>/dev/null || say "Without python3-torch and python3-psycopg2 there is no service to compare with."
