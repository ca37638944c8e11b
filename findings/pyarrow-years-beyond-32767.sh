#!/usr/bin/env bash
# pyarrow 26.0.1: a timestamp beyond the year 32767 has a wrong year, and a note in place of its text.
#
# A timestamp in seconds holds years far beyond 32767, and files made from sentinels ("no end date") have
# them. `pyarrow.compute.year` answers with another year, without an error. A safe cast to text, and
# `pyarrow.csv.write_csv`, put the words "<value out of range: N>" into the cell, where a reader of the
# file meets text in a column of dates. A cast that cannot be made raises elsewhere in pyarrow.
#
# Seen: the last second of 32767 is right; the next one has the year -32768, and its text is the note.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check pyarrow==26.0.1
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

print("pyarrow", pa.__version__)
last = 971_890_963_199  # seconds from 1970 to the end of the year 32767
times = pa.array([last, last + 1, 2**45], pa.timestamp("s"))
years, texts = pc.year(times).to_pylist(), times.cast(pa.string()).to_pylist()
for moment, year, text in zip([last, last + 1, 2**45], years, texts, strict=True):
    print(f"{moment}: year {year}, text {text!r}")
pyarrow.csv.write_csv(pa.table({"time": times}), "times.csv")
written = open("times.csv").read().splitlines()
print("times.csv:", written)

average = 31_556_952  # seconds in a year of the Gregorian calendar
true_year = 1970 + 2**45 // average
assert years[0] == 32767 and texts[0] == "32767-12-31 23:59:59"
assert true_year == 1_116_918, true_year
assert years[1:] == [-32768, 2806], "the years are other ones: look again"
assert texts[1].startswith("<value out of range") and "<value out of range" in written[2]
print(f"as described: {2**45} seconds are about the year {true_year:,}, not {years[2]:,}")
PYTHON
