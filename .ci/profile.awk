# Makes the tables of `make profile` from what wrk said and the nodes' metrics:
# awk -f thousands.awk -f profile.awk -v form=profile|budget|plot -v work=DIR DIR/steps.tsv
#
# A step's figures are differences between the scrapes after it and before it. Node 0 is the one
# that is asked, the coordinator of every request.

BEGIN {
    FS = "\t"
    title["kv_get"] = "reads"; title["kv_put"] = "writes"; title["kv_mixed"] = "mixed"
    queues = split("starling_requests_waiting starling_requests_open starling_sync_waiting " \
        "starling_peer_queued_frames", queue, " ")
}
{
    step = $1 "-" $2
    order[++steps] = step; kind[step] = $1; clients[step] = $2
    rate[step] = $3 / $4 * 1e6
    p50[step] = $5; p99[step] = $6; p999[step] = $9; broken[step] = $7 + $8; command[step] = $10
    if (!($1 in last_of)) kinds[++kind_count] = $1
    last_of[$1] = step
    for (node = 0; node < 3; node++) {
        scrape(step "-after-" node, step, node, 1)
        scrape(step "-before-" node, step, node, -1)
        during(step, node)
    }
    # In a closed loop the clients' number over their rate is the mean time of a request.
    client_ms[step] = $2 / rate[step] * 1e3
}
END {
    if (failed) exit 1
    for (i = 1; i <= kind_count; i++) knee[kinds[i]] = find_knee(kinds[i])
    if (form == "profile") profile()
    else if (form == "budget") budget()
    else plot()
}

# Adds SIGN times every series of a scrape to delta[STEP, family, NODE], whatever its labels; keeps
# reads and writes of data and outcomes apart.
function scrape(file, step, node, sign,   line, name, value, lines) {
    file = work "/scrapes/" file
    while ((getline line < file) > 0) {
        lines++
        if (line ~ /^#/ || line ~ /_bucket/) continue
        name = line; sub(/[{ ].*/, "", name)
        value = line; sub(/.* /, "", value)
        delta[step, name, node] += sign * value
        if (sign > 0) after[step, name, node] += value
        if (name != "starling_requests_total") continue
        if (line ~ /operation="read"/) delta[step, "reads", node] += sign * value
        if (line ~ /operation="write"/) delta[step, "writes", node] += sign * value
        if (line !~ /outcome="ok"/) delta[step, "errors", node] += sign * value
    }
    close(file)
    if (!lines) { print "profile.awk: nothing in " file > "/dev/stderr"; failed = 1; exit 1 }
}
# The highest length that a queue had at a scrape.
function during(step, node,   at, file, line, name, value, lines, sum) {
    for (at = 1; ; at++) {
        file = work "/scrapes/" step "-during" at "-" node
        lines = 0
        for (name in sum) delete sum[name]
        while ((getline line < file) > 0) {
            lines++
            if (line !~ /^starling_(requests_waiting|requests_open|sync_waiting|peer_queued)/) continue
            name = line; sub(/[{ ].*/, "", name)
            value = line; sub(/.* /, "", value)
            sum[name] += value
        }
        if (lines <= 0) return
        close(file)
        for (name in sum) if (sum[name] > deepest[step, name]) deepest[step, name] = sum[name]
    }
}

function all(step, name) {
    return delta[step, name, 0] + delta[step, name, 1] + delta[step, name, 2]
}
function operations(step) { return delta[step, "reads", 0] + delta[step, "writes", 0] }
function ratio(a, b, form) { return b > 0 ? sprintf(form, a / b) : "–" }
# Mean of a histogram of durations at a node, ms.
function mean_ms(step, name, node) {
    return delta[step, name "_count", node] > 0 ? \
        delta[step, name "_sum", node] / delta[step, name "_count", node] * 1e3 : 0
}
function peers_mean_ms(step, name,   sum, count) {
    sum = delta[step, name "_sum", 1] + delta[step, name "_sum", 2]
    count = delta[step, name "_count", 1] + delta[step, name "_count", 2]
    return count > 0 ? sum / count * 1e3 : 0
}

# Going on from one step to the next, throughput over p99 grows exactly while throughput grows
# faster than p99; so the knee is where it is highest.
function find_knee(of,   i, best) {
    for (i = 1; i <= steps; i++) {
        if (kind[order[i]] != of || p99[order[i]] <= 0) continue
        if (!best || rate[order[i]] / p99[order[i]] > rate[best] / p99[best]) best = order[i]
    }
    return best
}

function profile(   i, k, step, cpu, memory, node, name) {
    print "\n### Where the knee is\n"
    for (k = 1; k <= kind_count; k++) {
        step = knee[kinds[k]]
        printf "- %s: %d clients, %s a second, p99 %.2f ms\n", title[kinds[k]], clients[step], \
            thousands(rate[step]), p99[step]
    }
    print "\n### Throughput and latency\n"
    print "| load | clients | per second | p50 ms | p99 ms | p99.9 ms | server mean ms | errors | |"
    print "|---|---:|---:|---:|---:|---:|---:|---:|---|"
    for (i = 1; i <= steps; i++) {
        step = order[i]
        printf "| %s | %d | %s | %.2f | %.2f | %.2f | %.2f | %d | %s |\n", title[kind[step]], \
            clients[step], thousands(rate[step]), p50[step], p99[step], p999[step], \
            mean_ms(step, "starling_request_duration_seconds", 0), \
            all(step, "errors") + broken[step], knee[kind[step]] == step ? "knee" : ""
    }
    print "\n### Work for one operation\n"
    print "| load | clients | CPU µs, coordinator | CPU µs, all nodes | core busy | " \
        "syncs a write | batches a sync | sync mean ms | bytes to peers | frames to peers | log bytes |"
    print "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    for (i = 1; i <= steps; i++) {
        step = order[i]
        cpu = "starling_process_cpu_seconds_total"
        printf "| %s | %d | %s | %s | %s %% | %s | %s | %s | %s | %s | %s |\n", title[kind[step]], \
            clients[step], ratio(delta[step, cpu, 0] * 1e6, operations(step), "%.0f"), \
            ratio(all(step, cpu) * 1e6, operations(step), "%.0f"), \
            ratio(delta[step, "starling_core_busy_seconds_total", 0] * 100, \
                delta[step, "starling_process_uptime_seconds", 0], "%.0f"), \
            ratio(all(step, "starling_syncs_total"), delta[step, "writes", 0], "%.2f"), \
            batches(step), \
            ratio(all(step, "starling_sync_duration_seconds_sum") * 1e3, \
                all(step, "starling_sync_duration_seconds_count"), "%.2f"), \
            ratio(all(step, "starling_peer_sent_bytes_total"), operations(step), "%.0f"), \
            ratio(all(step, "starling_peer_sent_frames_total"), operations(step), "%.2f"), \
            ratio(all(step, "starling_storage_log_bytes_total"), delta[step, "writes", 0], "%.0f")
    }
    print "\n### What fills up\n"
    print "| load | clients | memory MiB, all nodes | waiting for the core | open | " \
        "waiting for a sync | frames waiting for peers | cache hits |"
    print "|---|---:|---:|---:|---:|---:|---:|---:|"
    for (i = 1; i <= steps; i++) {
        step = order[i]
        memory = 0
        for (node = 0; node < 3; node++) {
            memory += after[step, "starling_process_resident_memory_bytes", node]
        }
        printf "| %s | %d | %.0f", title[kind[step]], clients[step], memory / 1048576
        for (k = 1; k <= queues; k++) printf " | %d", deepest[step, queue[k]]
        name = "starling_storage_cache_"
        printf " | %s |\n", ratio(all(step, name "hits_total"), \
            all(step, name "hits_total") + all(step, name "misses_total"), "%.2f")
    }
    print "\n```"
    for (i = 1; i <= steps; i++) print command[order[i]]
    print "```"
}
# Of writes; of reads there may be a stray one.
function batches(step) {
    if (delta[step, "writes", 0] <= 0) return "–"
    return ratio(all(step, "starling_sync_batches_sum"), \
        all(step, "starling_sync_batches_count"), "%.2f")
}

function budget(   i, step, columns, at, line) {
    line = "| ms, mean"
    for (i = 1; i <= steps; i++) {
        step = order[i]
        if (kind[step] != "kv_put" || clients[step] !~ /^(1|8|32|128)$/) continue
        at[++columns] = step
        line = line " | " clients[step] (clients[step] == 1 ? " client" : " clients")
    }
    print line " |"
    line = "|---"
    for (i = 1; i <= columns; i++) line = line "|---:"
    print line "|"
    row(at, columns, "**at the client**, from sending to the answer", "client")
    row(at, columns, "sockets, HTTP and the client itself", "outside")
    row(at, columns, "**in the server**, admission to answer", "server")
    row(at, columns, "of it at the coordinator: admission, queue, apply, answer", "coordinator")
    row(at, columns, "of it the call to a peer, from sending to its answer", "call")
    row(at, columns, "of that the peer's sync", "peer_sync")
    row(at, columns, "of that both ways, the peer's queue and its join", "ways")
    row(at, columns, "beside the call: the coordinator's own sync", "sync")
    row(at, columns, "processor time of the core's thread, coordinator", "core")
    row(at, columns, "processor time of the coordinator's process", "cpu")
    row(at, columns, "processor time of all three processes", "cpu_all")
}
function row(at, columns, name, what,   i, line) {
    line = "| " name
    for (i = 1; i <= columns; i++) line = line " | " sprintf("%.3f", stage(at[i], what))
    print line " |"
}
function stage(step, what,   server, call, count) {
    server = mean_ms(step, "starling_request_duration_seconds", 0)
    call = mean_ms(step, "starling_peer_call_duration_seconds", 0)
    count = operations(step)
    if (what == "client") return client_ms[step]
    if (what == "server") return server
    if (what == "outside") return client_ms[step] - server
    if (what == "call") return call
    if (what == "coordinator") return server - call
    if (what == "peer_sync") return peers_mean_ms(step, "starling_sync_duration_seconds")
    if (what == "ways") return call - stage(step, "peer_sync")
    if (what == "sync") return mean_ms(step, "starling_sync_duration_seconds", 0)
    if (what == "core") return delta[step, "starling_core_busy_seconds_total", 0] / count * 1e3
    if (what == "cpu") return delta[step, "starling_process_cpu_seconds_total", 0] / count * 1e3
    return all(step, "starling_process_cpu_seconds_total") / count * 1e3
}

# For gnuplot: a block each kind, two empty lines between them. Of `batches` in a block without
# writes nothing is drawn.
function plot(   i, k, step, cpu) {
    cpu = "starling_process_cpu_seconds_total"
    for (k = 1; k <= kind_count; k++) {
        if (k > 1) print "\n"
        for (i = 1; i <= steps; i++) {
            step = order[i]
            if (kind[step] != kinds[k]) continue
            print clients[step], rate[step], p50[step], p99[step], \
                delta[step, cpu, 0] / operations(step) * 1e6, all(step, cpu) / operations(step) * 1e6, \
                batches(step), ratio(all(step, "starling_syncs_total"), delta[step, "writes", 0], \
                "%.4f"), knee[kinds[k]] == step
        }
    }
}
