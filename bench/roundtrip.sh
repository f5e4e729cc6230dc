#!/bin/sh
# What is done today instead: rows are exported, PyTorch trains MAML on them,
# adapts to every student, predicts, and predictions are written back.  Beside it
# the same within the database, in turn, both to the same number of iterations.
#
#	bench/roundtrip.sh [rounds [iterations]]		(default: 3 1000)
#
# 10,000 students of 20 rows with 32 inputs, whose answers depend on two of them
# in a way of each student's own; network 64-64, 32 tasks of 10 + 10 rows, 5 inner
# steps at a rate of .05, exact second order.  Nine tenths of the students are
# trained on; of each, ten rows are adapted on and ten predicted; the log loss is
# that of the last tenth.  The peer exports by COPY and multiplies in batches, the
# fastest ways it has; one thread each, no parallel workers.

set -eu
cd "$(dirname "$0")/.."
. bench/lib.sh
rounds=${1:-3} iterations=${2:-1000}
if ! python3 -c 'import torch, psycopg2, numpy' 2>/dev/null
then
	say "bench/roundtrip.sh: skipped, because python3-torch, python3-numpy or python3-psycopg2 is missing."
	exit 0
fi
database
machine
say "Load:    $(cut -d ' ' -f 1-3 /proc/loadavg)"
say ""

run <<-'END'
	SET client_min_messages = warning;
	DROP SCHEMA IF EXISTS bench_roundtrip CASCADE;
	CREATE SCHEMA bench_roundtrip;
	SELECT setseed(0.5) \g /dev/null
	CREATE TABLE bench_roundtrip.student AS
		SELECT student, 4 * random() - 2 AS level, 8 * random() - 4 AS a, 8 * random() - 4 AS b FROM generate_series(1, 10000) student;
	SELECT 'CREATE TABLE bench_roundtrip.r AS SELECT student, place, random() < 1 / (1 + exp(-level - a * x1 - b * x2 - 2 * x3)) AS correct, '
		   || string_agg('x' || i, ', ' ORDER BY i) || ' FROM (SELECT s.*, place, '
		   || string_agg(format('(random() * 2 - 1)::real AS x%s', i), ', ' ORDER BY i)
		   || ' FROM bench_roundtrip.student s, generate_series(0, 19) place) x'
	FROM generate_series(1, 32) i \gexec
	VACUUM ANALYZE bench_roundtrip.r;
END

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cat >"$dir/peer.py" <<'END'
import io, sys, time
import numpy, psycopg2, torch
import torch.nn.functional as F

torch.set_num_threads(1)
torch.manual_seed(0)
iterations, start, marks = int(sys.argv[1]), time.time(), []

def mark():
    marks.append(time.time())

connection = psycopg2.connect('')
cursor = connection.cursor()
text = io.StringIO()
cursor.copy_expert('COPY (SELECT student, place, correct::int, ' + ', '.join('x%d' % i for i in range(1, 33)) +
                   ' FROM bench_roundtrip.r ORDER BY student, place) TO STDOUT (FORMAT csv)', text)
rows = numpy.fromstring(text.getvalue().replace('\n', ','), sep=',').reshape(10000, 20, 35)
x = torch.tensor(rows[:, :, 3:], dtype=torch.float32)
y = torch.tensor(rows[:, :, 2:3], dtype=torch.float32)
trained = x[:9000].reshape(-1, 32)
x = (x - trained.mean(0)) / trained.std(0)
mark()

def layer(inputs, outputs):
    return [(torch.randn(1, inputs, outputs) * (2 / inputs) ** .5).requires_grad_(), torch.zeros(1, 1, outputs, requires_grad=True)]

theta = layer(32, 64) + layer(64, 64) + layer(64, 1)

def forward(w, x):
    x = torch.relu(torch.baddbmm(w[1], x, w[0]))
    x = torch.relu(torch.baddbmm(w[3], x, w[2]))
    return torch.baddbmm(w[5], x, w[4])

def adapt(x, y, second_order):
    w = [t.expand(len(x), -1, -1) for t in theta]
    for _ in range(5):
        loss = F.binary_cross_entropy_with_logits(forward(w, x), y, reduction='none').mean((1, 2)).sum()
        w = [t - .05 * g for t, g in zip(w, torch.autograd.grad(loss, w, create_graph=second_order))]
    return w

adam = torch.optim.Adam(theta, lr=.001)
for _ in range(iterations):
    tasks = torch.randint(9000, (32, 1))
    order = torch.rand(32, 20).argsort(1)
    bx, by = x[tasks, order], y[tasks, order]
    loss = F.binary_cross_entropy_with_logits(forward(adapt(bx[:, :10], by[:, :10], True), bx[:, 10:]), by[:, 10:])
    adam.zero_grad()
    loss.backward()
    adam.step()
mark()

p = []
for i in range(0, 10000, 500):
    w = adapt(x[i:i + 500, :10], y[i:i + 500, :10], False)
    with torch.no_grad():
        p.append(torch.sigmoid(forward(w, x[i:i + 500, 10:])))
p = torch.cat(p).reshape(-1).tolist()
mark()

cursor.execute('DROP TABLE IF EXISTS bench_roundtrip.peer; CREATE TABLE bench_roundtrip.peer (student int, place int, p float8)')
cursor.copy_expert('COPY bench_roundtrip.peer FROM STDIN', io.StringIO(''.join('%d\t%d\t%r\n' % (i // 10 + 1, i % 10 + 10, v) for i, v in enumerate(p))))
connection.commit()
mark()
print(*(b - a for a, b in zip([start] + marks, marks)))
END

# Seconds of: training, with loading; adapting, predicting and storing.
meta()
{
	begun=$(date +%s.%N)
	run <<-END
		SET client_min_messages = warning;
		SET max_parallel_maintenance_workers = 0;
		SET max_parallel_workers_per_gather = 0;
		CALL meta.train('bench.roundtrip', 'SELECT * FROM bench_roundtrip.r WHERE student <= 9000', task => 'student', target => 'correct', algorithm => 'maml',
						options => '{"iterations": $iterations, "patience": 0, "shots": 10, "query": 10, "meta_batch": 32, "inner_steps": 5, "inner_lr": 0.05,
									 "schedule": "constant", "skip": false, "start_pooled": false, "exclude": ["place"], "keep": 1}');
	END
	trained=$(date +%s.%N)
	run <<-'END'
		SET client_min_messages = warning;
		SET max_parallel_workers_per_gather = 0;
		DROP TABLE IF EXISTS bench_roundtrip.meta;
		CREATE TABLE bench_roundtrip.meta AS
			SELECT student, place, meta.predict(params, r) AS p
			FROM (SELECT student, meta.adapt('bench.roundtrip', s) AS params FROM bench_roundtrip.r s WHERE place < 10 GROUP BY student) a
				 JOIN bench_roundtrip.r r USING (student) WHERE place >= 10;
	END
	echo "$begun $trained $(date +%s.%N)" | awk '{ print $2 - $1, $3 - $2 }'
}

# The log loss of predictions about students who were not trained on.
judge()
{
	ask "SELECT round(avg(-ln(CASE WHEN correct THEN p ELSE 1 - p END))::numeric, 4) FROM bench_roundtrip.$1 JOIN bench_roundtrip.r USING (student, place) WHERE student > 9000"
}

round=0
while [ $((round += 1)) -le "$rounds" ]
do
	meta >>"$dir/meta"
	python3 "$dir/peer.py" "$iterations" >>"$dir/peer"
done

tenths() { awk '{ printf "%.1f\n", $1 }'; }
of() { cut -d ' ' -f "$2" "$dir/$1" | median | tenths; }
total() { awk '{ s = 0; for (i = 1; i <= NF; i++) s += $i; print s }' "$dir/$1" | median | tenths; }

say "| seconds, medians of $rounds rounds | export | train | adapt, predict | write back | all | log loss |"
say "|---|---|---|---|---|---|---|"
say "| meta | – | $(of meta 1) | $(of meta 2) | in this | $(total meta) | $(judge meta) |"
say "| COPY, PyTorch, COPY | $(of peer 1) | $(of peer 2) | $(of peer 3) | $(of peer 4) | $(total peer) | $(judge peer) |"
say ""
say "The round trip takes $(echo "$(total peer) $(total meta)" | awk '{ printf "%.1f", $1 / $2 }') times as long."
