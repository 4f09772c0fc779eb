-- The request is made of the arguments (method, length of the body); what came of it is one line of JSON.
function init(args)
  wrk.method = args[1] or "GET"
  local length = tonumber(args[2] or "0")
  if length > 0 then wrk.body = string.rep("x", length) end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"bytes":%d,"duration":%d,"p50":%d,"p99":%d,"p999":%d,"errors":%d}\n',
    summary.requests, summary.bytes, summary.duration,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout
  ))
end
