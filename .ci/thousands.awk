# 12345.6 as 12,346, for the reports: awk -f thousands.awk -f REPORT …
function thousands(value,   text, out) {
    text = sprintf("%.0f", value)
    while (length(text) > 3) {
        out = "," substr(text, length(text) - 2) out
        text = substr(text, 1, length(text) - 3)
    }
    return text out
}
