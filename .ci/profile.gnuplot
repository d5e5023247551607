# Draws the plots of `make profile`: gnuplot -e "work='DIR'" .ci/profile.gnuplot
# DIR/plot.tsv has a block each for reads, writes and mixed (see profile.awk), DIR/choices.tsv what
# store_choices printed. The background is painted, so that a dark page does not swallow the axes.

set terminal svg size 800,480 font "Helvetica,14" background "#ffffff" linewidth 1.5
set encoding utf8
set datafile separator whitespace
set datafile missing "–"
set grid lc rgb "#d0d7de"
set key outside top center horizontal
set border lc rgb "#57606a"
reads = "#0969da"; writes = "#cf222e"; mixed = "#1a7f37"
steps = work."/plot.tsv"

set output work."/images/profile-latency.svg"
set title "Throughput against latency; a point each for 1 to 128 clients, the circle is the knee"
set xlabel "operations per second"
set ylabel "milliseconds, logarithmic"
set logscale y
set format x "%'.0f"
set xrange [0:*]
plot steps index 0 using 2:4 with linespoints pt 7 ps 0.6 lc rgb reads title "reads p99", \
    "" index 0 using 2:3 with lines dt 2 lc rgb reads title "p50", \
    "" index 1 using 2:4 with linespoints pt 7 ps 0.6 lc rgb writes title "writes p99", \
    "" index 1 using 2:3 with lines dt 2 lc rgb writes title "p50", \
    "" index 2 using 2:4 with linespoints pt 7 ps 0.6 lc rgb mixed title "mixed p99", \
    "" index 2 using 2:3 with lines dt 2 lc rgb mixed title "p50", \
    "" using ($9 == 1 ? $2 : 1/0):4 with points pt 6 ps 2 lc rgb "#24292f" notitle

unset logscale y
unset format
set output work."/images/profile-cpu.svg"
set title "Processor time of one operation"
set xlabel "clients"
set ylabel "microseconds"
set logscale x 2
set xrange [0.9:140]
set yrange [0:*]
plot steps index 0 using 1:6 with linespoints pt 7 ps 0.6 lc rgb reads title "reads, all nodes", \
    "" index 0 using 1:5 with lines dt 2 lc rgb reads title "coordinator", \
    "" index 1 using 1:6 with linespoints pt 7 ps 0.6 lc rgb writes title "writes, all nodes", \
    "" index 1 using 1:5 with lines dt 2 lc rgb writes title "coordinator", \
    "" index 2 using 1:6 with linespoints pt 7 ps 0.6 lc rgb mixed title "mixed, all nodes", \
    "" index 2 using 1:5 with lines dt 2 lc rgb mixed title "coordinator"

set output work."/images/profile-batches.svg"
set title "Group commit: the more clients, the more batches share a sync"
set ylabel "batches a sync"
set y2label "syncs a write, three nodes together"
set ytics nomirror
set y2tics
set y2range [0:*]
plot steps index 1 using 1:7 with linespoints pt 7 ps 0.6 lc rgb writes title "writes, batches", \
    "" index 2 using 1:7 with linespoints pt 7 ps 0.6 lc rgb mixed title "mixed, batches", \
    "" index 1 using 1:8 axes x1y2 with lines dt 2 lc rgb writes title "writes, syncs (right)", \
    "" index 2 using 1:8 axes x1y2 with lines dt 2 lc rgb mixed title "mixed, syncs (right)"

unset y2label
unset y2tics
set ytics mirror
set output work."/images/profile-cache.svg"
set title "Blocks found in the cache; 400,000 rows, about 100 MiB"
set xlabel "memory of the store, MiB, logarithmic"
set ylabel "share found"
set xrange [14:220]
set yrange [0:1.05]
of(kind) = sprintf("< awk '$1 == \"cache\" && $3 == \"%s\"' %s/choices.tsv", kind, work)
plot of("even") using 2:4 with linespoints pt 7 ps 0.6 lc rgb reads title "keys drawn evenly", \
    of("skewed") using 2:4 with linespoints pt 7 ps 0.6 lc rgb mixed title "few keys draw most gets"

set output work."/images/profile-objects.svg"
set title "Headers found in the object cache; 400,000 headers, about 150 MiB"
set xlabel "memory of the object cache, MiB, logarithmic"
set xrange [0.9:220]
at(kind) = sprintf("< awk '$1 == \"objects\" && $2 > 0 && $3 == \"%s\"' %s/choices.tsv", kind, work)
plot at("even") using 2:4 with linespoints pt 7 ps 0.6 lc rgb reads title "keys drawn evenly", \
    at("skewed") using 2:4 with linespoints pt 7 ps 0.6 lc rgb mixed title "few keys draw most gets"
