#!/bin/sh
# Omniglot: N-way K-shot accuracy on characters that were never trained on.
#
#	bench/omniglot.sh [name ...]		(default: all of the table below)
#
#	DATA		folder with load.sh and the data	(default: ../shared/data)
#	TIME		seconds of training per name and call; 0: to the end	(default: 0)
#	SPLITS		vinyals_split to measure on; default: all but train that are there
#	MODELS		folder of models trained before: what is there is not trained again; empty: train all
#				(default: bench/omniglot)
#	SAVE		folder to save models to whose training has ended	(default: none)
#	OUT			file the table is written to	(default: standard output)
#
# Characters of vinyals_split "train" are trained on, with quarter turns as
# further characters, and a twentieth of them validated on.  A training that
# TIME ended, or that was interrupted, goes on with the next call: the table
# says how far it has come.  For that, run it in a database of yours.
#
# Two accuracies, in per cent, with 95 % intervals over 600 episodes of 15 query
# drawings of each character, by meta.evaluate.  "alone": each is classified by
# itself, as meta.classify does.  "together": the query drawings of an episode
# normalise each other, as papers often have it (networks that normalise
# batches only).
#
# Where drawings are few for what a network can hold, they are distorted while it
# learns (augment).  reptile's five inner steps take ten of an episode's fifty
# query drawings each, and it adapts by fifty steps, as its paper has it.
#
# mann: 1, 4 and 9 shots are what its paper calls the second, fifth and tenth
# instance of a class.

set -eu
cd "$(dirname "$0")/.."
. bench/lib.sh

DATA=${DATA:-../shared/data}
OUT=${OUT:-/dev/stdout}
TIME=${TIME:-0}
MODELS=${MODELS-bench/omniglot}
SAVE=${SAVE:-}
if [ ! -f "$DATA/load.sh" ]
then
	say "bench/omniglot.sh: skipped, because the data is not at $DATA (set DATA to where load.sh is)."
	exit 0
fi

# name	algorithm	way	shots	judged as way x shots	options
table()
{
	cat <<'END'
maml_fc	maml	5	1	5x1	"hidden": [256, 128, 64, 64], "norm": "batch", "skip": false, "inner_steps": 1, "inner_lr": 0.4, "query": 5, "meta_batch": 32, "iterations": 60000, "augment": 0.5
maml_fc_5	maml	5	5	5x5	"hidden": [256, 128, 64, 64], "norm": "batch", "skip": false, "inner_steps": 1, "inner_lr": 0.4, "query": 5, "meta_batch": 32, "iterations": 60000, "augment": 0.5
maml	maml	5	1	5x1	"network": "conv4", "inner_steps": 1, "inner_lr": 0.4, "query": 5, "meta_batch": 32, "iterations": 43000, "adapt_steps": 3, "augment": 0.5
prototypical	prototypical	60	1	20x1 5x1	"network": "conv4_pool", "features": 64, "query": 5, "meta_batch": 1, "augment": 1, "iterations": 27000
matching	matching	20	1	20x1 5x1	"network": "conv4_pool", "features": 64, "query": 5, "meta_batch": 1, "augment": 1, "iterations": 6000
ridge	ridge	20	1	20x1 5x1	"network": "conv4_pool", "features": 64, "query": 5, "meta_batch": 1, "augment": 1, "iterations": 15000
reptile	reptile	5	1	5x1 5x5	"network": "conv4_flat", "inner_steps": 5, "inner_batch": 10, "adapt_steps": 50, "inner_lr": 0.001, "outer_lr": 1, "query": 10, "meta_batch": 5, "iterations": 100000
mann	mann	5	[1, 9]	5x1 5x4 5x9	"hidden": [200], "skip": false, "query": 5, "meta_batch": 16, "iterations": 18000, "augment": 0.5
END
}
[ $# -gt 0 ] || set -- $(table | cut -f 1)

database
PATH=$(dirname "$(command -v "$psql")"):$PATH
export PATH
[ "$(ask "SELECT to_regclass('d.omniglot') IS NOT NULL")" = t ] || bash "$DATA/load.sh" omniglot >&2
SPLITS=${SPLITS:-$(ask "SELECT string_agg(DISTINCT vinyals_split, ' ') FROM d.omniglot WHERE vinyals_split <> 'train'")}

run <<'END'
SET client_min_messages = warning;
CREATE SCHEMA IF NOT EXISTS bench_omniglot;
CREATE TABLE IF NOT EXISTS bench_omniglot.result (
	name text, split text, way int, shots int, iteration int, of_iterations int, together bool, accuracy float8, half float8,
	measured timestamptz DEFAULT now());
END

# What is trained on, as a literal.
source="'SELECT class_id, image FROM d.omniglot WHERE vinyals_split = ''train'''"

# Makes a name's model of its file, NAME.ITERATIONS.safetensors, where there is one.
adopt()
{
	name=$1 algorithm=$2
	[ -n "$MODELS" ] && [ "$(ask "SELECT EXISTS (SELECT FROM meta.model WHERE name = 'omniglot_$name')")" = f ] || return 0
	# of several the one of the most iterations
	file=$(find "$MODELS" -name "$name.*.safetensors" | sort -V | tail -n 1)
	[ -n "$file" ] || return 0
	iterations=${file%.safetensors}
	{
		printf "SELECT decode('"
		base64 "$file"
		cat <<-END
			', 'base64') AS params \\gset
			WITH m AS (
				INSERT INTO meta.model (name, source, task, target, features, algorithm)
				VALUES ('omniglot_$name', $source, 'class_id', 'class_id', 'image', '$algorithm') RETURNING id)
			INSERT INTO meta.version (model, version, digest, params, metrics)
			SELECT id, 1, left(encode(sha256(:'params'), 'hex'), 32), :'params', '{"iterations": ${iterations##*.}}' FROM m;
		END
	} | run
}

# Writes it, once its training has ended.
save()
{
	name=$1 iterations=$2
	[ -n "$SAVE" ] || return 0
	[ "$(ask "SELECT EXISTS (SELECT FROM meta.checkpoint c JOIN meta.model m ON m.id = c.model WHERE m.name = 'omniglot_$name')")" = f ] || return 0
	ask "SELECT encode(meta.params('omniglot_$name'), 'base64')" | base64 -d >"$SAVE/$name.$iterations.safetensors"
}

# Trains a name's model, or goes on with it.
train()
{
	name=$1 algorithm=$2 way=$3 shots=$4 options=$6
	state=$(ask "SELECT CASE WHEN EXISTS (SELECT FROM meta.checkpoint c JOIN meta.model m ON m.id = c.model WHERE m.name = 'omniglot_$name') THEN 'resume'
						WHEN EXISTS (SELECT FROM meta.version v JOIN meta.model m ON m.id = v.model WHERE m.name = 'omniglot_$name') THEN 'done' END")
	case $state in
	resume)
		run -c "UPDATE meta.model SET options = options || '{\"time_limit\": $TIME}' WHERE name = 'omniglot_$name'" \
			-c "SET maintenance_work_mem = '4GB'" -c "CALL meta.resume('omniglot_$name')" >&2 ;;
	done) ;;
	*)
		run -c "SET maintenance_work_mem = '4GB'" -c "CALL meta.train('omniglot_$name', $source,
			task => 'class_id', target => 'class_id', features => 'image', algorithm => '$algorithm',
			options => '{$options, \"way\": $way, \"shots\": $shots, \"encode\": {\"image\": \"image 28x28\"}, \"rotations\": true,
						\"weight_decay\": 0, \"validation\": 0.05, \"test\": 0, \"patience\": 0, \"checkpoint\": 60, \"report\": 60,
						\"time_limit\": $TIME}')" >&2 ;;
	esac
}

# Iterations of the last training, of all: "900 10000"
progress()
{
	ask "SELECT (v.metrics ->> 'iterations') || ' ' || (meta.describe('omniglot_$1') #>> '{options,iterations}')
		 FROM meta.version v JOIN meta.model m ON m.id = v.model WHERE m.name = 'omniglot_$1' ORDER BY v.version DESC LIMIT 1"
}

judge()
{
	name=$1 way=$2 shots=$3 split=$4 at=$5 of=$6
	run -c "SET client_min_messages = warning" -c "SET maintenance_work_mem = '4GB'" \
		-c "INSERT INTO bench_omniglot.result (name, split, way, shots, iteration, of_iterations, together, accuracy, half)
			SELECT '$name', '$split', $way, $shots, $at, $of, method = 'transductive', value, (upper - lower) / 2
			FROM meta.evaluate('omniglot_$name', 'SELECT class_id, image FROM d.omniglot WHERE vinyals_split = ''$split''',
							   shots => '{$shots}', way => $way)
			WHERE metric = 'accuracy' AND method IN ('adapted', 'transductive')"
}

for name
do
	line=$(table | grep "^$name	") || die "bench/omniglot.sh: no entry \"$name\"; there are: $(table | cut -f 1 | tr '\n' ' ')"
	IFS='	'
	# shellcheck disable=SC2086
	set -- $line
	unset IFS
	adopt "$@"
	train "$@"
	judged=$5
	ran=$(progress "$name")
	save "$name" "${ran% *}"
	for split in $SPLITS
	do
		for task in $judged
		do
			# shellcheck disable=SC2086
			judge "$name" "${task%x*}" "${task#*x}" "$split" $ran
		done
	done
done

{
	machine
	run -P border=2 -P format=wrapped -P linestyle=old-ascii -P footer=off <<'END'
SELECT name, split, way || '-way ' || shots || '-shot' AS task, max(iteration) || ' of ' || max(of_iterations) AS iterations,
	   max(format('%s +- %s', round((100 * accuracy)::numeric, 1), round((100 * half)::numeric, 1))) FILTER (WHERE NOT together) AS alone,
	   max(format('%s +- %s', round((100 * accuracy)::numeric, 1), round((100 * half)::numeric, 1))) FILTER (WHERE together) AS together
FROM (SELECT DISTINCT ON (name, split, way, shots, together) * FROM bench_omniglot.result
	  ORDER BY name, split, way, shots, together, measured DESC) r
GROUP BY name, split, way, shots ORDER BY name, split, way, shots;
END
} >"$OUT"
