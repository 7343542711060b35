"""What the server does in one step, in Lua. Every script gets the index as its only key.

Its first argument is the prefix of the values.

The index is complete when it has the empty member; a script that needs it complete answers nil when it is not. A member
without a value (the value was erased or evicted behind our back) is passed over. Scripts are short, and sent whole each
time (EVAL): so a call is one round trip even after a restarted server has forgotten its scripts.

A server that is out of memory refuses a script's first write and, once that was done, none after it: ZADD comes first.
"""

from typing import Final

_PRESENT: Final = b"""
-- the members that have a value; one command when all of them do
local function present(prefix, members)
  local names, found = {}, {}
  for i, member in ipairs(members) do names[i] = prefix .. member end
  if #names == 0 or redis.call('EXISTS', unpack(names)) == #names then return members end
  for i, name in ipairs(names) do
    if redis.call('EXISTS', name) == 1 then found[#found + 1] = members[i] end
  end
  return found
end
"""

PAGE: Final = (
    _PRESENT
    + b"""
-- prefix, from, to, count, "1" for sizes -> the last member looked at ("" at the end), keys or keys and sizes in turn
if not redis.call('ZSCORE', KEYS[1], '') then return false end
local members = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
local last, out = #members == tonumber(ARGV[4]) and members[#members] or '', present(ARGV[1], members)
if ARGV[5] == '1' then
  local sized = {}
  for _, member in ipairs(out) do
    local size = redis.pcall('STRLEN', ARGV[1] .. member)
    if type(size) ~= 'table' then
      sized[#sized + 1] = member
      sized[#sized + 1] = size
    end
  end
  out = sized
end
return {last, out}
"""
)

SIZES: Final = b"""
-- prefix, keys -> the length of each value, -1 of none
local sizes = {}
for i = 2, #ARGV do
  local name = ARGV[1] .. ARGV[i]
  local size = redis.call('STRLEN', name)
  sizes[i - 1] = (size > 0 or redis.call('EXISTS', name) == 1) and size or -1
end
return sizes
"""

DIRECTORY: Final = b"""
-- prefix, from, to, length of the folder, most names -> where to go on ("" at the end), names (of folders with "/")
if not redis.call('ZSCORE', KEYS[1], '') then return false end
local prefix, from, skip, most, out = ARGV[1], ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5]), {}
for _ = 1, most do
  local members = redis.call('ZRANGEBYLEX', KEYS[1], from, ARGV[3], 'LIMIT', 0, 16)
  local inside
  for _, member in ipairs(members) do
    if not inside or string.sub(member, 1, #inside) ~= inside then
      inside = nil
      if redis.call('EXISTS', prefix .. member) == 1 then
        local slash = string.find(member, '/', skip + 1, true)
        if slash then inside = string.sub(member, 1, slash) end
        out[#out + 1] = inside or member
      end
    end
  end
  if #members < 16 then return {'', out} end
  from = inside and '[' .. string.sub(inside, 1, -2) .. '0' or '(' .. members[#members]
  if #out >= most then break end
end
return {from, out}
"""

ERASE: Final = b"""
-- prefix, from, to, count -> how many members were erased with their values
if not redis.call('ZSCORE', KEYS[1], '') then return false end
local members = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
local names = {}
for i, member in ipairs(members) do names[i] = ARGV[1] .. member end
if #members > 0 then
  redis.call('UNLINK', unpack(names))
  redis.call('ZREM', KEYS[1], unpack(members))
end
return #members
"""

RENAME: Final = (
    _PRESENT
    + b"""
-- prefix, from, to, length of the source folder, target folder -> how many values were renamed, all in this one step
if not redis.call('ZSCORE', KEYS[1], '') then return false end
local count, skip = 0, tonumber(ARGV[4]) + 1
repeat
  local members = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[2], ARGV[3], 'LIMIT', 0, 1000)
  local moved, entries = present(ARGV[1], members), {}
  for i, member in ipairs(moved) do
    entries[2 * i - 1], entries[2 * i] = 0, ARGV[5] .. string.sub(member, skip)
  end
  if #moved > 0 then redis.call('ZADD', KEYS[1], unpack(entries)) end
  for i, member in ipairs(moved) do redis.call('RENAME', ARGV[1] .. member, ARGV[1] .. entries[2 * i]) end
  if #members > 0 then redis.call('ZREM', KEYS[1], unpack(members)) end
  count = count + #moved
until #members == 0
return count
"""
)

SWAP: Final = b"""
-- prefix, then of each key: it, the SHA-1 of its old value ("" of none), 1 if there is a new value, it
-- -> 0 if the index is not complete and should be, the numbers of the keys that are refused; all are compared before any is written
local complete = redis.call('ZSCORE', KEYS[1], '')
local entries, values, gone, names, refused = {}, {}, {}, {}, {}
for i = 2, #ARGV, 4 do
  local key, name = ARGV[i], ARGV[1] .. ARGV[i]
  local current = redis.call('GET', name)
  if (current and redis.sha1hex(current) or '') ~= ARGV[i + 1] then
    refused[#refused + 1] = (i - 2) / 4
  elseif ARGV[i + 2] == '1' then
    entries[#entries + 1], entries[#entries + 2] = 0, key
    values[#values + 1], values[#values + 2] = name, ARGV[i + 3]
  elseif current then
    gone[#gone + 1], names[#names + 1] = key, name
  end
end
if #entries > 0 then
  redis.call('ZADD', KEYS[1], unpack(entries))
  redis.call('MSET', unpack(values))
end
if #gone > 0 then
  redis.call('UNLINK', unpack(names))
  redis.call('ZREM', KEYS[1], unpack(gone))
end
return {(complete or #entries == 0) and 1 or 0, unpack(refused)}
"""

ENTER: Final = b"""
-- prefix, keys -> enters those that have a value at this moment
for i = 2, #ARGV do
  if redis.call('TYPE', ARGV[1] .. ARGV[i]).ok == 'string' then redis.call('ZADD', KEYS[1], 0, ARGV[i]) end
end
return true
"""

FINISH: Final = b"""
-- token -> whether the index is complete now: it is when nobody dropped it since the token was put in
local complete = redis.call('ZSCORE', KEYS[1], '')
if not complete and redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  complete = redis.call('ZADD', KEYS[1], 0, '')
end
redis.call('ZREM', KEYS[1], ARGV[1])
return complete and 1 or 0
"""

PRUNE: Final = b"""
-- prefix, from, to, count -> the last member looked at ("" at the end); members without a value go
local members = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
for _, member in ipairs(members) do
  if string.sub(member, 1, 1) ~= '/' and redis.call('EXISTS', ARGV[1] .. member) == 0 then
    redis.call('ZREM', KEYS[1], member)
  end
end
return #members == tonumber(ARGV[4]) and members[#members] or ''
"""
