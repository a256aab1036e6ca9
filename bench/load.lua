-- What wrk sends, by the first argument after "--":
--   initiate <seed>       a fresh payment each time, under a random key, as pages make them
--   requests <file>       the requests of a file in turn: method TAB path TAB headers TAB body, from the start again
--   once <file>           as above, each once; the run is void when they run out
-- After the run it prints one line of JSON.

local hex = { "8", "9", "a", "b" }

local function uuid4()
  return string.format("%08x-%04x-4%03x-%s%03x-%08x%04x",
    math.random(0, 4294967295), math.random(0, 65535), math.random(0, 4095), hex[math.random(1, 4)],
    math.random(0, 4095), math.random(0, 4294967295), math.random(0, 65535))
end

local function initiates(seed)
  math.randomseed(seed)
  local headers = { ["Content-Type"] = "application/json" }
  return function()
    return wrk.format("POST", "/api/payments/initiate", headers,
      '{"product_id":"tshirt","product_amount":"300.00","payment_method":"card","currency":"EGP",' ..
      '"idempotency_key":"' .. uuid4() .. '","order_reference":"A-1001",' ..
      '"payer":{"name":"Mona Hassan","email":"mona@example.com","phone":"01012345678"},' ..
      '"return_url":"https://shop.example/thanks","locale":"ar"}')
  end
end

local function written(file)
  local requests = {}
  for line in io.lines(file) do
    local method, path, names, body = line:match("^([^\t]*)\t([^\t]*)\t([^\t]*)\t(.*)$")
    local headers = {}
    for name, value in names:gmatch("([^:;]+): ([^;]+)") do headers[name] = value end
    requests[#requests + 1] = wrk.format(method, path, headers, body ~= "" and body or nil)
  end
  return requests
end

local function in_turn(file, again)
  local requests, at = written(file), 0
  return function()
    at = at + 1
    if at > #requests then
      assert(again, "the prepared requests ran out")
      at = 1
    end
    return requests[at]
  end
end

function init(args)
  local kind, what = args[1], args[2]
  if kind == "initiate" then request = initiates(tonumber(what))
  else request = in_turn(what, kind == "requests") end
end

function done(summary, latency, requests)
  local e = summary.errors
  print(string.format(
    '{"requests":%d,"seconds":%.6f,"p50_ms":%.4f,"p99_ms":%.4f,"refused":%d,"broken":%d,"late":%d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.status, e.connect + e.read + e.write, e.timeout))
end
