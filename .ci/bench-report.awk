# Makes the tables of `make bench`:
# awk -f thousands.awk -f bench-report.awk -v form=markdown|json WHERE RAW CORE
#
# A figure is the median of the rounds, beside the lowest and the highest. A ratio is taken within
# each round, between measurements made minutes apart at most, and is the median of those.

BEGIN { FS = "\t"; rivals = split("hyper,redis everysec,redis always,rocksdb", rival, ",") }
NR == FNR { where[$1] = $2; where_order[++places] = $1; next }
$1 != "result" {
    point = $2 SUBSEP $3 SUBSEP $4
    if (!(point in seen)) { seen[point] = 1; order[++points] = point }
    rounds[$1] = 1
    rate[$1, point] = $5; p50[$1, point] = $6; p99[$1, point] = $7; command[point] = $8
    next
}
$3 == "ratio" { ratio[$2] = $4; next }
$2 == "set_paging" { page_ns[$3] = $4; page_kib[$3] = $5; page_order[++paged] = $3; next }
$2 == "set_whole_state_bytes" { whole[$3] = $4; next }
$2 ~ /_bytes$/ { bytes[substr($2, 1, length($2) - 6), $3] = $4; next }
$2 ~ /^small_/ {
    small[$2, $3] = $4; spread[$2, $3] = $5 "–" $6
    if (!($3 in op)) { op[$3]; small_order[++smalls] = $3 }
    next
}
{
    kind = $2
    sub(/_(memory|rocksdb)$/, "", kind)
    change[$2, $3] = $4; spread[$2, $3] = $5 "–" $6
    if (!(kind in sizes)) kinds[++changes] = kind
    if (!((kind, $3) in known)) { known[kind, $3]; at[kind, ++sizes[kind]] = $3 }
}
END { if (form == "json") json(); else markdown() }

# Median of what has been pushed; low and high are set with it.
function push(value) { pushed[++stack] = value + 0 }
function median(   i, j, hold, found) {
    for (i = 2; i <= stack; i++) {
        hold = pushed[i]
        for (j = i - 1; j > 0 && pushed[j] > hold; j--) pushed[j + 1] = pushed[j]
        pushed[j + 1] = hold
    }
    low = pushed[1]; high = pushed[stack]
    found = (pushed[int((stack + 1) / 2)] + pushed[int(stack / 2) + 1]) / 2
    stack = 0
    return found
}
function over_rounds(values, point,   r) {
    for (r in rounds) if ((r, point) in values) push(values[r, point])
    return median()
}

# The measurement of another system that does the same, or "".
function counterpart(other, point,   part, reads) {
    split(point, part, SUBSEP)
    reads = part[2] ~ /(GET|get)$/
    if (other == "rocksdb") {
        return other SUBSEP (reads ? "cached get" SUBSEP 1 : "put, a batch each" SUBSEP part[3])
    }
    if (other == "hyper") return other SUBSEP (reads ? "GET" : "PUT") SUBSEP part[3]
    return other SUBSEP (reads ? "GET" : "SET") SUBSEP part[3]
}
function times(other, point,   r, same) {
    same = counterpart(other, point)
    if (point !~ /^starling/ || !(same in seen)) return ""
    for (r in rounds) if ((r, same) in rate) push(rate[r, point] / rate[r, same])
    return sprintf("%.2f", median())
}

function ms(values, point,   r) {
    for (r in rounds) if (values[r, point] == "-") return "–"
    return sprintf("%.2f", over_rounds(values, point))
}
function or_dash(text) { return text == "" ? "–" : text }

function or_null(text) { return text == "" ? "null" : text }

# What a change cost in a store, with its spread.
function cost(store, i, j,   name) {
    name = kinds[i] "_" store SUBSEP at[kinds[i], j]
    return name in change ? thousands(change[name]) " (" spread[name] ")" : "–"
}
# The bytes of the largest over those of the smallest.
function growth(kind,   small, large) {
    small = bytes[kind, at[kind, 1]]; large = bytes[kind, at[kind, sizes[kind]]]
    return small && large ? sprintf("%.3f", large / small) : "–"
}
function core(store, name) {
    return thousands(small[store, name]) " (" spread[store, name] ") | " \
        thousands(1e9 / small[store, name])
}
function markdown(   i, j, part, middle, line) {
    for (i = 1; i <= places; i++) print "- " where_order[i] ": " where[where_order[i]]
    if (points) {
        print "\n| system | operation | clients | per second, median (lowest–highest) | p50 ms " \
            "| p99 ms | of bare hyper | of redis everysec | of redis always | of RocksDB |"
        print "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    }
    for (i = 1; i <= points; i++) {
        split(order[i], part, SUBSEP)
        middle = over_rounds(rate, order[i])
        line = "| " part[1] " | " part[2] " | " part[3] " | " thousands(middle) " (" \
            thousands(low) "–" thousands(high) ") | " ms(p50, order[i]) " | " ms(p99, order[i])
        for (j = 1; j <= rivals; j++) line = line " | " or_dash(times(rival[j], order[i]))
        print line " |"
    }
    if (smalls) {
        print "\n| the core alone | memory store, ns | per second | RocksDB, ns, without the sync " \
            "| per second |"
        print "|---|---:|---:|---:|---:|"
    }
    for (i = 1; i <= smalls; i++) {
        print "| " small_order[i] " | " core("small_memory", small_order[i]) " | " \
            core("small_rocksdb", small_order[i]) " |"
    }
    if (changes) {
        print "\n| one change | of an object of | memory store, ns | RocksDB, ns, without the sync " \
            "| bytes exchanged with each peer |"
        print "|---|---:|---:|---:|---:|"
    }
    for (i = 1; i <= changes; i++) {
        for (j = 1; j <= sizes[kinds[i]]; j++) {
            print "| " kinds[i] " | " thousands(at[kinds[i], j]) " | " cost("memory", i, j) " | " \
                cost("rocksdb", i, j) " | " or_dash(bytes[kinds[i], at[kinds[i], j]]) " |"
        }
        print "| " kinds[i] " | largest : smallest | " or_dash(ratio[kinds[i] "_memory"]) " | " \
            or_dash(ratio[kinds[i] "_rocksdb"]) " | " growth(kinds[i]) " |"
    }
    if (paged) {
        print "\n| reading all of a set of | ns a member | memory grown, KiB | its whole state, bytes |"
        print "|---:|---:|---:|---:|"
    }
    for (i = 1; i <= paged; i++) {
        print "| " thousands(page_order[i]) " | " thousands(page_ns[page_order[i]]) " | " \
            page_kib[page_order[i]] " | " thousands(whole[page_order[i]]) " |"
    }
    if (points) print "\n```"
    for (i = 1; i <= points; i++) if (!told[command[order[i]]]++) print command[order[i]]
    if (changes) print "cargo bench -p starling-node --bench objects"
    if (points) print "```"
}

function quoted(text) { gsub(/\\/, "\\\\", text); gsub(/"/, "\\\"", text); return "\"" text "\"" }
function json(   i, j, r, part, found, text) {
    print "{"
    for (i = 1; i <= places; i++) print "  " quoted(where_order[i]) ": " quoted(where[where_order[i]]) ","
    print "  \"measurements\": ["
    for (i = 1; i <= points; i++) {
        split(order[i], part, SUBSEP)
        text = "    {\"system\": " quoted(part[1]) ", \"operation\": " quoted(part[2]) \
            ", \"clients\": " part[3] ", \"per_second\": " sprintf("%.0f", over_rounds(rate, order[i])) \
            ", \"lowest\": " sprintf("%.0f", low) ", \"highest\": " sprintf("%.0f", high)
        if (ms(p50, order[i]) != "–") {
            text = text ", \"p50_ms\": " ms(p50, order[i]) ", \"p99_ms\": " ms(p99, order[i])
        }
        for (j = 1; j <= rivals; j++) {
            found = times(rival[j], order[i])
            if (found != "") text = text ", " quoted("of " rival[j]) ": " found
        }
        text = text ", \"rounds\": ["
        for (r = 1; (r, order[i]) in rate; r++) text = text (r > 1 ? ", " : "") sprintf("%.0f", rate[r, order[i]])
        print text "], \"command\": " quoted(command[order[i]]) "}" (i < points ? "," : "")
    }
    print "  ],\n  \"core_ns\": {"
    for (i = 1; i <= smalls; i++) {
        print "    " quoted(small_order[i]) ": {\"memory\": " small["small_memory", small_order[i]] \
            ", \"rocksdb\": " small["small_rocksdb", small_order[i]] "}" (i < smalls ? "," : "")
    }
    print "  },\n  \"changes\": ["
    for (i = 1; i <= changes; i++) for (j = 1; j <= sizes[kinds[i]]; j++) {
        print "    {\"change\": " quoted(kinds[i]) ", \"members\": " at[kinds[i], j] \
            ", \"memory_ns\": " or_null(change[kinds[i] "_memory", at[kinds[i], j]]) \
            ", \"rocksdb_ns\": " or_null(change[kinds[i] "_rocksdb", at[kinds[i], j]]) \
            ", \"bytes_to_and_from_a_peer\": " or_null(bytes[kinds[i], at[kinds[i], j]]) "}" \
            (i < changes || j < sizes[kinds[i]] ? "," : "")
    }
    print "  ],\n  \"change_ratio\": {"
    for (i = 1; i <= changes; i++) {
        print "    " quoted(kinds[i]) ": {\"memory\": " or_null(ratio[kinds[i] "_memory"]) \
            ", \"rocksdb\": " or_null(ratio[kinds[i] "_rocksdb"]) "}" (i < changes ? "," : "")
    }
    print "  },\n  \"set_paging\": ["
    for (i = 1; i <= paged; i++) {
        print "    {\"members\": " page_order[i] ", \"ns_a_member\": " page_ns[page_order[i]] \
            ", \"memory_grown_kib\": " page_kib[page_order[i]] ", \"whole_state_bytes\": " \
            or_null(whole[page_order[i]]) "}" (i < paged ? "," : "")
    }
    print "  ]\n}"
}
