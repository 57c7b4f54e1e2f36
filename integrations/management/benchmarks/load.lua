-- Asks for the addresses that a file names, one a line, one after the other; prints what came of it as one JSON object.
-- With BENCH_FORM, each request is a POST of that form.
local paths, place = {}, 0
for line in io.lines(os.getenv("BENCH_PATHS")) do paths[#paths + 1] = line end
local form = os.getenv("BENCH_FORM")
local headers = { ["Authorization"] = os.getenv("BENCH_AUTHORIZATION") }
if form then headers["Content-Type"] = "application/x-www-form-urlencoded" end

request = function()
  place = place % #paths + 1
  return wrk.format(form and "POST" or "GET", paths[place], headers, form)
end

done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"rps":%.1f,"p50_ms":%.3f,"p99_ms":%.3f,"failed":%d}\n', summary.requests,
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.status + e.connect + e.read + e.write + e.timeout))
end
