-- For wrk: each connection waits between an answer and its next request, and every request is another user's.

local number = 0

function delay()
  return 10 -- milliseconds
end

function request()
  number = number + 1
  wrk.headers["x-user"] = "user-" .. number
  return wrk.format()
end
