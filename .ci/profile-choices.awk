# Makes the tables of the store's choices: awk -f thousands.awk -f profile-choices.awk choices.tsv
BEGIN { FS = "\t" }
$1 == "sync" { shared[++syncs] = $2; rate[syncs] = $3; took[syncs] = $4 }
$1 == "bloom" { get[$2, $3] = $4 }
$1 == "page" { limit[++pages] = $2; page[pages] = $3 }
$1 == "cache" {
    if (!($2 in known)) { known[$2]; size[++sizes] = $2 }
    hits[$2, $3] = $4; gets[$2, $3] = $5
}
$1 == "objects" {
    if (!($2 in seen)) { seen[$2]; mib[++caches] = $2 }
    found[$2, $3] = $4; reads[$2, $3] = $5
}
END {
    print "**Group commit:** batches that share one sync; 1 is one sync each.\n"
    print "| batches a sync | batches per second | times | a sync, median µs |"
    print "|---:|---:|---:|---:|"
    for (i = 1; i <= syncs; i++) {
        printf "| %d | %s | %.1f | %s |\n", shared[i], thousands(rate[i]), rate[i] / rate[1], \
            thousands(took[i])
    }
    print "\n**Bloom filters:** one get from the same tables, 10 bits a key.\n"
    print "| key | filters off, ns | filters on, ns | on : off |"
    print "|---|---:|---:|---:|"
    for (i = 1; i <= 2; i++) {
        key = i == 1 ? "absent" : "present"
        printf "| %s | %s | %s | %.2f |\n", key, thousands(get["off", key]), \
            thousands(get["on", key]), get["on", key] / get["off", key]
    }
    print "\n**Ordered rows and a limit:** the first rows of a range of 100,000.\n"
    print "| limit | µs | of the whole |"
    print "|---:|---:|---:|"
    for (i = 1; i <= pages; i++) {
        printf "| %s | %s | %.4f |\n", thousands(limit[i]), \
            page[i] < 100 ? page[i] : thousands(page[i]), page[i] / page[pages]
    }
    print "\n**Block cache:** 400,000 rows, about 100 MiB; the whole of `memory_mib`, memtables included.\n"
    print "| MiB | hits, even keys | gets per second | hits, skewed keys | gets per second |"
    print "|---:|---:|---:|---:|---:|"
    for (i = 1; i <= sizes; i++) {
        printf "| %d | %.3f | %s | %.3f | %s |\n", size[i], hits[size[i], "even"], \
            thousands(gets[size[i], "even"]), hits[size[i], "skewed"], \
            thousands(gets[size[i], "skewed"])
    }
    print "\n**Object cache:** the same rows as headers, about 150 MiB with what each entry takes beside " \
        "them, in front of a block cache of 256 MiB; 0 MiB is none.\n"
    print "| MiB | hits, even keys | gets per second | times | hits, skewed keys | gets per second | times |"
    print "|---:|---:|---:|---:|---:|---:|---:|"
    for (i = 1; i <= caches; i++) {
        printf "| %d | %.3f | %s | %.2f | %.3f | %s | %.2f |\n", mib[i], found[mib[i], "even"], \
            thousands(reads[mib[i], "even"]), reads[mib[i], "even"] / reads[0, "even"], \
            found[mib[i], "skewed"], thousands(reads[mib[i], "skewed"]), \
            reads[mib[i], "skewed"] / reads[0, "skewed"]
    }
}
