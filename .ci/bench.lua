-- What wrk asks of an HTTP server: wrk … -s .ci/bench.lua URL -- KIND KEYS [FIRST]
--
-- KIND is kv_get, kv_put (100 bytes), kv_mixed (a kv_put for every four kv_get), counter_post, or
-- counter_once: a counter_post with an idempotency key of its own.
-- Keys are drawn from KEYS of them, or with FIRST taken in order from there, once each in a round.
-- Prints one line of tab-separated `result`, answers, microseconds, p50 and p99 in ms, answers of
-- status 400 and above, broken connections and timeouts, p99.9 in ms.

local methods = { kv_get = "GET", kv_put = "PUT", counter_post = "POST" }
local paths = { kv_get = "kv", kv_put = "kv", counter_post = "counters" }
local bodies = { kv_put = string.rep("v", 100), counter_post = '{"increment":1}' }
local headers = { kv_put = { ["Content-Type"] = "text/plain" } }
local mixed = { kv_mixed = { "kv_get", "kv_get", "kv_get", "kv_get", "kv_put" } }

local threads = 0
function setup(thread)
   threads = threads + 1
   thread:set("number", threads)
end

function init(args)
   local kind, keys = args[1], tonumber(args[2])
   math.randomseed(os.time() * 64 + number)
   requests, next_key = {}, args[3] and tonumber(args[3])
   count = 0
   if kind == "counter_once" then
      once, asked, count = os.time(), 0, keys
      return
   end
   for _, one in ipairs(mixed[kind] or { kind }) do
      for key = 0, keys - 1 do
         local path = string.format("/v1/%s/bench/key:%012d", paths[one], key)
         requests[count] = wrk.format(methods[one], path, headers[one], bodies[one])
         count = count + 1
      end
   end
end

function request()
   if once then
      asked = asked + 1
      local key = string.format("%d-%d-%d", number, once, asked)
      local path = string.format("/v1/counters/bench/key:%012d", math.random(0, count - 1))
      return wrk.format("POST", path, { ["Idempotency-Key"] = key }, bodies.counter_post)
   end
   if not next_key then return requests[math.random(0, count - 1)] end
   next_key = next_key + 1
   return requests[(next_key - 1) % count]
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format("result\t%d\t%d\t%.3f\t%.3f\t%d\t%d\t%.3f\n", summary.requests,
      summary.duration, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
      errors.status, errors.connect + errors.read + errors.write + errors.timeout,
      latency:percentile(99.9) / 1000))
end
