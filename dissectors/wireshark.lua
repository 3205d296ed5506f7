-- The program behind the tables RECORD, PROTOCOLS and DEVICES. It runs in Lua 5.2 and 5.4.
--
-- "vhostspy" is called for every record: it shows what the capture says of a message, and hands the message to the
-- dissector of its protocol. Payloads are read from Lua strings, by the tables, exactly as vhostspy itself reads them;
-- only then is the tree made. What a session agreed on, and who waits for an answer, is worked out once, when a packet
-- is first seen, and kept by packet number.
--
-- Integers are Lua numbers where those are exact, else UInt64 or Int64.

-- Installed, and loaded by hand as well: the first one stays. Files share their globals.
local loaded = rawget(_G, "vhostspy_dissector")
if loaded then
  if loaded ~= FINGERPRINT then
    pcall(function() io.stderr:write("vhostspy: another version of this dissector is loaded already, and is used\n") end)
  end
  return
end
rawset(_G, "vhostspy_dissector", FINGERPRINT)

local unpack = table.unpack or unpack
local byte, format, sub, floor, concat = string.byte, string.format, string.sub, math.floor, table.concat

-- -------------------------------------------------------------------------------------------------------------------
-- Integers

local TWO_32 = 4294967296

-- Up to four octets of s, from the offset `at` (0 is the first).
local function word(s, at, size, big)
  local value = 0
  if big then
    for i = at + 1, at + size do value = value * 256 + byte(s, i) end
  else
    for i = at + size, at + 1, -1 do value = value * 256 + byte(s, i) end
  end
  return value
end

local function integer(s, at, size, big, signed)
  if size <= 4 then
    local value = word(s, at, size, big)
    if signed then
      local limit = size == 4 and TWO_32 or size == 2 and 65536 or 256
      if value >= limit / 2 then value = value - limit end
    end
    return value
  end
  local low, high = word(s, at + (big and 4 or 0), 4, big), word(s, at + (big and 0 or 4), 4, big)
  if signed and high >= 0x80000000 then
    if high >= 0xFFE00001 then return (high - TWO_32) * TWO_32 + low end
    return Int64.new(low, high)
  end
  if high < 0x200000 then return high * TWO_32 + low end
  return signed and Int64.new(low, high) or UInt64.new(low, high)
end

-- The lower and the upper 32 bits.
local function halves(value)
  if type(value) == "number" then
    local low = value % TWO_32
    return low, floor((value - low) / TWO_32) % TWO_32
  end
  -- what lower() and higher() say of negative ones is their magnitude's
  local octets = value:encode(true)
  return word(octets, 0, 4), word(octets, 4, 4)
end

-- Of a negative integer its magnitude; nil of others.
local function below_zero(value)
  if type(value) == "number" then return value < 0 and -value or nil end
  if sub(tostring(value), 1, 1) ~= "-" then return nil end
  local low, high = halves(value)
  return UInt64.new(low == 0 and 0 or TWO_32 - low, (TWO_32 - high - (low == 0 and 0 or 1)) % TWO_32)
end

local function whole(low, high)
  if high < 0x200000 then return high * TWO_32 + low end
  return UInt64.new(low, high)
end

local function bit_of(value, bit)
  local low, high = halves(value)
  if bit >= 32 then low, bit = high, bit - 32 end
  return floor(low / 2 ^ bit) % 2 == 1
end

-- Bits `low` to `low + width - 1` of a value of two halves.
local function bits_of(lower, upper, low, width)
  if low >= 32 then return floor(upper / 2 ^ (low - 32)) % 2 ^ width end
  if low + width <= 32 then return floor(lower / 2 ^ low) % 2 ^ width end
  if low == 0 and width == 64 then return whole(lower, upper) end
  local first = floor(lower / 2 ^ low)
  local above = upper % 2 ^ (width - (32 - low))
  if width <= 53 then return first + above * 2 ^ (32 - low) end
  -- wider than a number, narrower than the word
  local below, upward = halves(UInt64.new(lower, upper):rshift(low))
  return whole(below, upward % 2 ^ (width - 32))
end

-- Whether flag bits are set, of values below 2^32.
local function both(value, mask)
  return bit.band(value, mask) % TWO_32
end

local function is_zero(value)
  if type(value) == "number" then return value == 0 end
  local low, high = halves(value)
  return low == 0 and high == 0
end

-- -------------------------------------------------------------------------------------------------------------------
-- How people read a value

local function dec(value)
  if type(value) == "number" then return format("%.0f", value) end
  return tostring(value)
end

local hex

function hex(value)
  local magnitude = below_zero(value)
  if magnitude then return "-" .. hex(magnitude) end
  local low, high = halves(value)
  return high > 0 and format("0x%x%08x", high, low) or format("0x%x", low)
end

-- In decimal: an integer times a number, plus a number (all below 10^14, the last may be negative).
local function product_text(value, times, plus)
  local text, limbs, carry = dec(value), {}, plus
  for last = #text, 1, -7 do
    local sum = tonumber(sub(text, math.max(last - 6, 1), last)) * times + carry
    limbs[#limbs + 1] = sum % 10000000
    carry = floor(sum / 10000000)
  end
  while carry > 0 do
    limbs[#limbs + 1] = carry % 10000000
    carry = floor(carry / 10000000)
  end
  local out = {}
  for place = #limbs, 1, -1 do out[#out + 1] = format("%07.0f", limbs[place]) end
  return (concat(out):gsub("^0+", ""))
end

-- 1 entry, 2 entries
local function number_of(value, word_)
  local text = type(value) == "string" and value or dec(value)
  if text == "1" then return "1 " .. word_ end
  if sub(word_, -1) == "y" then return text .. " " .. sub(word_, 1, -2) .. "ies" end
  return text .. " " .. word_ .. "s"
end

local UNITS = { { 40, "TiB" }, { 30, "GiB" }, { 20, "MiB" }, { 10, "KiB" } }

local size_text

function size_text(value)
  local magnitude = below_zero(value)
  if magnitude then return "-" .. size_text(magnitude) end
  if not is_zero(value) then
    for _, unit in ipairs(UNITS) do
      if type(value) == "number" then
        if value % 2 ^ unit[1] == 0 then return dec(value / 2 ^ unit[1]) .. " " .. unit[2] end
      else
        local low, high = halves(value)
        local shift = unit[1]
        if shift >= 32 then
          if low == 0 and high % 2 ^ (shift - 32) == 0 then return dec(high / 2 ^ (shift - 32)) .. " " .. unit[2] end
        elseif low % 2 ^ shift == 0 then
          return tostring(UInt64.new(low, high):rshift(shift)) .. " " .. unit[2]
        end
      end
    end
  end
  return number_of(value, "byte")
end

local function result_text(value)
  if is_zero(value) then return "ok" end
  if type(value) == "number" then return "failed (" .. dec(value) .. ")" end
  local low, high = halves(value)
  -- a negative errno in an unsigned integer
  if high >= 0x80000000 then return "failed (" .. tostring(Int64.new(low, high)) .. ")" end
  return "failed (" .. dec(value) .. ")"
end

local function fourcc_text(value)
  local low = halves(value)
  local letters = string.char(low % 256, floor(low / 256) % 256, floor(low / 65536) % 256, floor(low / 16777216))
  return letters:match("^%w%w%w%w$") or hex(low)
end

local function octets_hex(s, between)
  return (s:gsub(".", function(c) return format("%02x", byte(c)) .. (between or "") end))
end

-- The names of the bits that are set; those without one by number.
local function bit_names(value, names)
  local found = {}
  local half, above = halves(value)
  local place = 0
  while half > 0 or above > 0 do
    if half == 0 then half, above, place = above, 0, 32 end
    if half % 2 == 1 then
      local name = names[place]
      if type(name) == "table" then name = name[1] end
      found[#found + 1] = name or "bit " .. place
    end
    half = floor(half / 2)
    place = place + 1
  end
  return found
end

-- One character of UTF-8 at `i`: its length, or nil.
local function character(s, i)
  local first = byte(s, i)
  local length = first >= 0xF0 and first <= 0xF4 and 4 or first >= 0xE0 and first < 0xF0 and 3
    or first >= 0xC2 and first < 0xE0 and 2
  if not length or i + length - 1 > #s then return nil end
  for k = i + 1, i + length - 1 do
    if byte(s, k) < 0x80 or byte(s, k) > 0xBF then return nil end
  end
  local second = byte(s, i + 1)
  -- too long forms, halves of pairs, beyond the last; controls of Latin-1
  if first == 0xE0 and second < 0xA0 or first == 0xED and second > 0x9F or first == 0xF0 and second < 0x90
    or first == 0xF4 and second > 0x8F then return nil end
  return length
end

local ESCAPES = { [9] = "\\t", [10] = "\\n", [13] = "\\r" }

-- Text that a peer sent: what could upset a list is escaped.
local function escaped(s)
  local out, i = {}, 1
  while i <= #s do
    local c = byte(s, i)
    if c >= 32 and c < 127 then
      out[#out + 1] = string.char(c)
      i = i + 1
    elseif c < 128 then
      out[#out + 1] = ESCAPES[c] or format("\\x%02x", c)
      i = i + 1
    else
      local length = character(s, i)
      if not length then
        out[#out + 1] = format("\\x%02x", c)
        i = i + 1
      elseif c == 0xC2 and byte(s, i + 1) <= 0xA0 then
        out[#out + 1] = format("\\x%02x", byte(s, i + 1))
        i = i + 2
      else
        out[#out + 1] = sub(s, i, i + length - 1)
        i = i + length
      end
    end
  end
  return concat(out)
end

-- Text up to its first NUL.
local function printable(s)
  return escaped(s:match("^[^\0]*"))
end

local BRIEF = 8

local function octets_text(s, show)
  if show == "uuid" and #s == 16 then
    local digits = octets_hex(s)
    return concat({ sub(digits, 1, 8), sub(digits, 9, 12), sub(digits, 13, 16), sub(digits, 17, 20), sub(digits, 21) },
      "-")
  end
  if show == "mac" then return (sub(octets_hex(s, ":"), 1, -2)) end
  if show == "text" or show == "json" then return printable(s) end
  if show == "secret" then return #s .. " bytes, not shown" end
  if show == "x8r8g8b8" or show == "a8r8g8b8" then return number_of(floor(#s / 4), "pixel") .. " " .. show end
  if show == "brief" and #s > BRIEF then return octets_hex(sub(s, 1, BRIEF)) .. "\226\128\166" end
  return octets_hex(s)
end

local function integer_text(value, show, names)
  if show == "names" and names then
    local found = concat(bit_names(value, names.names), ", ")
    return found == "" and "0" or found
  end
  local name = names and not names.bits and names.names[value]
  if name then return name end
  if show == "hex" then return hex(value) end
  if show == "size" then return size_text(value) end
  if show == "fourcc" then return fourcc_text(value) end
  if show == "result" then return result_text(value) end
  return dec(value)
end

local function plain(value, show, names)
  local kind = type(value)
  if kind == "boolean" then return value and "yes" or "no" end
  if kind == "string" then return octets_text(value, show) end
  if kind == "table" then return #value .. " entries" end
  return integer_text(value, show, names)
end

-- The line of a list: texts, and members with how they are written. It ends where a member is not there.
local function line_of(P, pieces, fields)
  local out = {}
  for i = 2, #pieces do
    local piece = pieces[i]
    if type(piece) == "string" then
      out[#out + 1] = piece
    else
      local value = fields[piece.of]
      if value == nil then return (concat(out):gsub("[ ,:]+$", "")) end
      if piece.show == "?" then
        if value and value ~= "" and (type(value) == "boolean" or type(value) == "string" or not is_zero(value)) then
          out[#out + 1] = piece.word
        end
      elseif piece.show == "*" then
        out[#out + 1] = number_of(value, piece.word)
      else
        out[#out + 1] = plain(value, piece.show, piece.names and P.names[piece.names])
      end
    end
  end
  return concat(out)
end

-- -------------------------------------------------------------------------------------------------------------------
-- Payloads to members. `fields`: name -> value; `nodes`: what the tree shows, in the wire's order.

local read_at

-- Where more octets are missing than a number can be exact about: a count as it was sent, the octets of one, and how
-- many to add.
local lacking
local EXACT = 2 ^ 53

-- How many octets are missing of `times` that have `size` each, when `here` are there.
local function missing_of(counted, times, size, here)
  local missing = 1.0 * times * size - here
  lacking = missing >= EXACT and { counted, size, -here } or nil
  return missing > 0 and missing or 0
end

-- A count or length that a peer sent.
local function number_in(fields, name)
  local value = fields[name]
  if value == true then return 1 end
  if type(value) == "number" then return value > 0 and value or 0 end
  if type(value) == "userdata" and not below_zero(value) then
    local low, high = halves(value)
    -- a float: integers of Lua 5.4 would begin anew at 2^63
    return high * 4294967296.0 + low
  end
  return 0
end

local function times_of(times, fields, fit)
  if times == nil then return fit end
  return type(times) == "string" and number_in(fields, times) or times
end

local function read_item(item, fields, nodes, s, at, big, every)
  local kind = item.kind
  if kind == "int" then
    local value = integer(s, at, item.size, big, item.signed)
    fields[item.name] = value
    nodes[#nodes + 1] = { item, at, item.size, value }
  elseif kind == "word" then
    local low, high
    if item.size <= 4 then
      low, high = word(s, at, item.size, big), 0
    else
      low, high = word(s, at + (big and 4 or 0), 4, big), word(s, at + (big and 0 or 4), 4, big)
    end
    local rest_low, rest_high = low, high
    for _, part in ipairs(item.parts) do
      local value = bits_of(low, high, part.low, part.width)
      for place = part.low, part.low + part.width - 1 do
        if place < 32 then
          local bit_value = 2 ^ place
          if floor(rest_low / bit_value) % 2 == 1 then rest_low = rest_low - bit_value end
        else
          local bit_value = 2 ^ (place - 32)
          if floor(rest_high / bit_value) % 2 == 1 then rest_high = rest_high - bit_value end
        end
      end
      if part.flag then value = not is_zero(value) end
      fields[part.name] = value
      nodes[#nodes + 1] = { part, at, item.size, value }
    end
    if rest_low ~= 0 or rest_high ~= 0 then
      local value = whole(rest_low, rest_high)
      fields.reserved = value
      nodes[#nodes + 1] = { { name = "reserved", field = item.reserved, kind = "part" }, at, item.size, value }
    end
  else
    local octets = sub(s, at + 1, at + item.size)
    if kind == "padding" and not every and not octets:find("[^\0]") then return end
    fields[item.name] = octets
    nodes[#nodes + 1] = { item, at, item.size, octets }
  end
end

local READ = {}

function READ.run(P, step, fields, nodes, s, at, big, every)
  local missing = missing_of(nil, 1, step.size, #s - at)
  if missing > 0 and not every then return at, missing end
  for _, item in ipairs(step.items) do
    if at + item.size > #s then break end
    read_item(item, fields, nodes, s, at, big, every)
    at = at + item.size
  end
  return at, missing
end

function READ.rest(P, step, fields, nodes, s, at)
  local left = #s - at
  local size = step.times == nil and left or number_in(fields, step.times)
  if size > left then return at, missing_of(fields[step.times], size, 1, left) end
  local octets = sub(s, at + 1, at + size)
  fields[step.name] = octets
  nodes[#nodes + 1] = { step, at, size, octets }
  return at + size, 0
end

function READ.integers(P, step, fields, nodes, s, at, big)
  local size = step.size
  local fit = floor((#s - at) / size)
  local times = times_of(step.times, fields, fit)
  local values, start = {}, at
  for i = 1, times < fit and times or fit do
    local value = integer(s, at, size, big, step.signed)
    values[i] = value
    nodes[#nodes + 1] = { step, at, size, value }
    at = at + size
  end
  fields[step.name] = values
  return at, missing_of(fields[step.times], times, size, #s - start)
end

function READ.structures(P, step, fields, nodes, s, at, big)
  local layout = P.layouts[step.of]
  local least = layout.least
  local fit = floor((#s - at) / least)
  local times = times_of(step.times, fields, fit)
  local most = times < fit and times or fit
  local elements, start = {}, at
  fields[step.name] = elements
  for _ = 1, most do
    local element, kids, ends, missing = read_at(P, layout, s, at, big)
    if missing > 0 then break end
    elements[#elements + 1] = element
    nodes[#nodes + 1] = { step, at, ends - at, kids }
    at = ends
  end
  if layout.size then return at, missing_of(fields[step.times], times, least, #s - start) end
  if step.times == nil or #elements == times then return at, 0 end
  return at, math.max(1, missing_of(fields[step.times], times, least, #s - at + #elements * least))
end

local function suits(layout, fields)
  return not layout.when or layout.when[2][fields[layout.when[1]]] == true
end

function READ.chain(P, step, fields, nodes, s, at, big)
  local elements = {}
  fields[step.name] = elements
  local last = P.layouts[step.of[#step.of]]
  local following = number_in(fields, step.first)
  while following == at and at < #s do
    local any, _, _, missing = read_at(P, last, s, at, big)
    if missing > 0 then return at, missing end
    following = number_in(any, step.next)
    local ends = (at + last.least <= following and following <= #s) and following or #s
    -- offsets in an element are its own
    local piece = sub(s, at + 1, ends)
    local element, kids
    for _, number in ipairs(step.of) do
      local layout = P.layouts[number]
      local behind, lacking
      element, kids, behind, lacking = read_at(P, layout, piece, 0, big)
      if behind == #piece and lacking == 0 and suits(layout, element) then break end
    end
    elements[#elements + 1] = element
    nodes[#nodes + 1] = { step, at, ends - at, kids, at }
    at = ends
  end
  return at, 0
end

-- The members, what the tree shows of them, the offset behind them, and how many octets are missing at least.
function read_at(P, layout, s, at, big, every)
  local fields, nodes = {}, {}
  if layout.little then big = false end
  for place, step in ipairs(layout.steps) do
    local missing
    at, missing = READ[step.kind](P, step, fields, nodes, s, at, big, every)
    if missing > 0 then
      for later = place + 1, #layout.steps do
        missing = missing + layout.steps[later].least
        if lacking then lacking[3] = lacking[3] + layout.steps[later].least end
      end
      return fields, nodes, at, missing
    end
  end
  return fields, nodes, at, 0
end

local function read(P, layout, s, big)
  local fields, nodes, at, missing = read_at(P, layout, s, 0, big)
  if missing > 0 or at < #s then
    -- every one, so that it can be told where the members end
    fields, nodes, at, missing = read_at(P, layout, s, 0, big, true)
  end
  return fields, nodes, at, missing
end

-- Whether a gate's bit was agreed on, or one that drafts had for it.
local function agreed_on(gate, word_)
  for place = 2, #gate do
    if bit_of(word_, gate[place]) then return true end
  end
  return false
end

-- 0: this layout may be; 1: it needs what is not known; 2: it needs what was not agreed on.
local function doubt(layout, context)
  if layout.postcopy and not context.postcopy then return 2 end
  local most = 0
  for _, gate in ipairs(layout.needs or {}) do
    local agreed = context[gate[1]]
    local one = agreed == nil and 1 or agreed_on(gate, agreed) and 0 or 2
    if one > most then most = one end
  end
  return most
end

-- Of several layouts the one that fills the payload exactly, and has been agreed on rather than not; else the likeliest.
local function decode(P, alternatives, s, context, big)
  local likeliest
  for doubtful = 0, 2 do
    for _, alternative in ipairs(alternatives) do
      local layout = P.layouts[alternative[1]]
      if doubt(layout, context) == doubtful and (layout.size == nil or layout.size == #s or not likeliest) then
        local fields, nodes, at, missing = read(P, layout, s, big)
        if suits(layout, fields) then
          local found = { layout = layout, alternative = alternative, fields = fields, nodes = nodes, at = at,
            missing = missing, lacking = missing > 0 and lacking or nil }
          if at == #s and missing == 0 then return found end
          if not likeliest then
            found.rest = true
            fields.rest = sub(s, at + 1)
            likeliest = found
          end
        end
      end
    end
  end
  return likeliest or { fields = { rest = s }, nodes = {}, at = 0, missing = 0, rest = true }
end

local function missing_text(decoded)
  local many = decoded.lacking and product_text(unpack(decoded.lacking)) or decoded.missing
  return number_of(many, "byte") .. " missing"
end

-- `cut`: what is missing was there, the capture only did not keep it.
local function info_line(P, decoded, s, cut)
  if decoded.missing > 0 and not cut then return missing_text(decoded) end
  local text = decoded.alternative and line_of(P, decoded.alternative, decoded.fields) or ""
  if decoded.at < #s and decoded.missing == 0 then
    local more = number_of(#s - decoded.at, "byte") .. " more than expected"
    return text ~= "" and text .. ", " .. more or more
  end
  return text
end

-- -------------------------------------------------------------------------------------------------------------------
-- JSON, as much of it as events are: an object's members; nil for what is none.

local function json_object(s)
  local value, at, depth = nil, 1, 0
  local read_value

  local function blank()
    at = s:find("[^ \t\r\n]", at) or #s + 1
    return sub(s, at, at)
  end

  local function utf8(code)
    if code < 0x80 then return string.char(code) end
    if code < 0x800 then return string.char(0xC0 + floor(code / 64), 0x80 + code % 64) end
    if code < 0x10000 then
      return string.char(0xE0 + floor(code / 4096), 0x80 + floor(code / 64) % 64, 0x80 + code % 64)
    end
    return string.char(0xF0 + floor(code / 262144), 0x80 + floor(code / 4096) % 64, 0x80 + floor(code / 64) % 64,
      0x80 + code % 64)
  end

  local SHORT = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

  local function text()
    local parts = {}
    at = at + 1
    while true do
      local stop = s:find('["\\]', at)
      if not stop then error("open") end
      parts[#parts + 1] = sub(s, at, stop - 1)
      if sub(s, stop, stop) == '"' then
        at = stop + 1
        return concat(parts)
      end
      local sign = sub(s, stop + 1, stop + 1)
      at = stop + 2
      if sign == "u" then
        local code = tonumber(s:match("^%x%x%x%x", at) or error("u"), 16)
        at = at + 4
        local second = code >= 0xD800 and code < 0xDC00 and tonumber(s:match("^\\u(%x%x%x%x)", at) or "0", 16) or 0
        if second >= 0xDC00 and second < 0xE000 then
          code = 0x10000 + (code - 0xD800) * 1024 + second - 0xDC00
          at = at + 6
        end
        parts[#parts + 1] = utf8(code)
      else
        parts[#parts + 1] = SHORT[sign] or sign
      end
    end
  end

  local function object()
    local members = {}
    at = at + 1
    if blank() == "}" then at = at + 1 return members end
    while true do
      if blank() ~= '"' then error("name") end
      local name = text()
      if blank() ~= ":" then error("colon") end
      at = at + 1
      members[name] = read_value()
      local sign = blank()
      at = at + 1
      if sign == "}" then return members end
      if sign ~= "," then error("comma") end
    end
  end

  local function array()
    local members = {}
    at = at + 1
    if blank() == "]" then at = at + 1 return members end
    while true do
      members[#members + 1] = read_value()
      local sign = blank()
      at = at + 1
      if sign == "]" then return members end
      if sign ~= "," then error("comma") end
    end
  end

  function read_value()
    local sign = blank()
    depth = depth + 1
    if depth > 50 then error("deep") end
    local found
    if sign == "{" then found = object()
    elseif sign == "[" then found = array()
    elseif sign == '"' then found = text()
    else
      local bare = s:match("^[%w+.-]+", at) or error("value")
      at = at + #bare
      found = bare == "true" or bare ~= "false" and bare ~= "null" and tonumber(bare) or nil
    end
    depth = depth - 1
    return found
  end

  local fine = pcall(function() value = read_value() end)
  return fine and type(value) == "table" and value or nil
end

-- -------------------------------------------------------------------------------------------------------------------
-- Protocols and fields of Wireshark

local function say(text)
  pcall(function() io.stderr:write("vhostspy: " .. text .. "\n") end)
end

-- A Proto of this name; where another script has taken it, with vhostspy_ in front.
local function new_proto(name, title)
  local fine, proto = pcall(Proto, name, title)
  if fine then return proto, name end
  local other = "vhostspy_" .. name
  fine, proto = pcall(Proto, other, title .. " (vhostspy)")
  if not fine then error(proto, 0) end
  say("another script has the name " .. name .. ": fields begin with " .. other .. ". here")
  return proto, other
end

local BASES = { hex = base.HEX, dec = base.DEC }

local function new_field(name, label, type_, base_, names, text)
  local abbr = name
  local make = ProtoField[type_]
  if type_ == "bool" then return make(abbr, label, base.NONE, nil, nil, text) end
  if type_ == "bytes" then return make(abbr, label, base.NONE, text) end
  if type_ == "string" then return make(abbr, label, base.UNICODE, text) end
  if type_ == "none" then return make(abbr, label, text) end
  -- Wireshark has signed integers in decimal only
  local shown = type_:sub(1, 1) == "u" and BASES[base_] or base.DEC
  return make(abbr, label, shown, names, nil, text)
end

local spy = Proto("vhostspy", "vhostspy record")
-- record fields: name, type, base, names, text
local R, spy_fields = {}, {}

local function record_field(key, name, type_, base_, names, text)
  local field = new_field("vhostspy." .. name, name, type_, base_, names, text)
  R[key] = field
  spy_fields[#spy_fields + 1] = field
end

-- A list of names, which begins with 0, as Lua has them.
local function from_zero(list)
  local names = {}
  for i, name in ipairs(list) do
    if name ~= "" then names[i - 1] = name end
  end
  return names
end

local RECORDS = from_zero(RECORD.records)
local PROTOCOL_NAMES = from_zero(RECORD.protocols)
local CHANNELS = from_zero(RECORD.channels)
local SENDERS = { [0] = "front-end", [1] = "back-end", [2] = "vhostspy" }
local ROLES, KINDS, ACCESS = from_zero(RECORD.roles), from_zero(RECORD.kinds), from_zero(RECORD.access)
local BY = from_zero(RECORD.by)

record_field("version", "version", "uint8")
record_field("record", "record", "uint8", "dec", RECORDS)
record_field("header_length", "header_length", "uint16")
record_field("protocol", "protocol", "uint8", "dec", PROTOCOL_NAMES)
record_field("byte_order", "byte_order", "uint8", "dec", { [0] = "little-endian", [1] = "big-endian" })
record_field("channel", "channel", "uint8", "dec", CHANNELS)
record_field("sender", "from", "uint8", "dec", SENDERS)
record_field("marks", "marks", "uint32", "hex")
for _, mark in ipairs(RECORD.marks) do
  record_field(mark[2], mark[2], "bool", nil, nil, mark[3])
end
record_field("by", "by", "uint8", "dec", BY, "what of vhostspy changed, made or dropped it")
record_field("session", "session", "uint32")
record_field("previous", "previous", "uint32", "dec", nil, "the session before this one of the same sockets")
record_field("channel_no", "channel_no", "uint32")
record_field("reads", "reads", "uint32", "dec", nil, "in how many reads it came")
record_field("no", "no", "uint64", "dec", nil, "the message's number")
record_field("time_ns", "time_ns", "uint64", "dec", nil, "first octet, since 1970")
record_field("monotonic_ns", "monotonic_ns", "uint64", "dec", nil, "first octet, on CLOCK_MONOTONIC")
record_field("span_ns", "span_ns", "uint64", "dec", nil, "from the first octet to the last")
record_field("length", "length", "uint64", "dec", nil, "of the whole message")
record_field("offset", "offset", "uint64", "dec", nil, "of this part in the message")
record_field("fds_at", "fds_at", "uint32", "dec", nil, "offset of the octet that descriptors came with")
record_field("fds", "fds", "uint16", "dec", nil, "how many descriptors")
record_field("entry_size", "entry_size", "uint16")
record_field("fd", "fd", "none", nil, nil, "a descriptor")
record_field("fd_role", "fd.role", "uint8", "dec", ROLES)
record_field("fd_kind", "fd.kind", "uint8", "dec", KINDS)
record_field("fd_access", "fd.access", "uint8", "dec", ACCESS)
record_field("fd_known", "fd.known", "uint8", "hex")
record_field("fd_seals", "fd.seals", "uint32", "hex")
record_field("fd_device", "fd.device", "uint64", "dec")
record_field("fd_inode", "fd.inode", "uint64", "dec")
record_field("fd_size", "fd.size", "uint64", "dec")
record_field("fd_eventfd_id", "fd.eventfd_id", "uint64", "dec")
record_field("fd_name", "fd.name", "string")
record_field("message", "message", "string", nil, nil, "the message's name; a reply's is its request's")
record_field("kind", "kind", "string", nil, nil, "request, reply, ack or raw")
record_field("need_reply", "need_reply", "bool")
record_field("failed", "failed", "bool", nil, nil, "an answer that says no")
record_field("info", "info", "string", nil, nil, "the line of the list")
record_field("octets", "octets", "bytes", nil, nil, "of this part, or what could not be framed")
record_field("event", "event", "string")
record_field("text", "text", "string")
record_field("answers", "answers", "uint64", "dec", nil, "number of the request that this answers")
R.part = ProtoField.framenum("vhostspy.part", "part", base.NONE, nil, nil, "a packet that holds a part of this message")
R.whole_in = ProtoField.framenum("vhostspy.whole_in", "whole_in", base.NONE, nil, nil,
  "the packet in which this message is complete")
spy_fields[#spy_fields + 1] = R.part
spy_fields[#spy_fields + 1] = R.whole_in
spy.fields = spy_fields


local spy_experts = {}

local function new_expert(name, text, group, severity)
  local made = ProtoExpert.new("vhostspy.expert." .. name, text, group, severity)
  spy_experts[#spy_experts + 1] = made
  return made
end

local DAMAGED = new_expert("damaged", "a record that can't be read", expert.group.MALFORMED, expert.severity.ERROR)
local INCOMPLETE = new_expert("incomplete", "the stream ended in it", expert.group.MALFORMED, expert.severity.WARN)
local CUT = new_expert("cut", "only its first octets are here", expert.group.UNDECODED, expert.severity.NOTE)
local UNREAD = new_expert("unread", "octets that could not be framed", expert.group.UNDECODED, expert.severity.WARN)
local MISSING = new_expert("missing", "shorter than its members", expert.group.MALFORMED, expert.severity.ERROR)
local MORE = new_expert("rest", "octets that no member explains", expert.group.MALFORMED, expert.severity.WARN)
local UNKNOWN = new_expert("unknown", "a message that is not known", expert.group.UNDECODED, expert.severity.WARN)
local FAILED = new_expert("failed", "an answer that says no", expert.group.RESPONSE_CODE, expert.severity.NOTE)
local CHANGED = new_expert("changed", "vhostspy changed, made or dropped it", expert.group.PROTOCOL, expert.severity.NOTE)
local UNSURE = new_expert("unsure", "its descriptors may be another message's", expert.group.PROTOCOL,
  expert.severity.NOTE)
local LOST = new_expert("lost", "a part of a message whose others are not here", expert.group.REASSEMBLE,
  expert.severity.WARN)
local EVENT_WARNS = new_expert("event", "what happened", expert.group.SEQUENCE, expert.severity.WARN)
local EVENT_NOTES = new_expert("end", "what ended", expert.group.SEQUENCE, expert.severity.NOTE)
spy.experts = spy_experts

spy.prefs.device = Pref.string("Type of device", "", "net, block, fs …: where the session does not tell it")
spy.prefs.conversations = Pref.bool("Count conversations", true,
  "Statistics > Conversations and Endpoints, below UDP: by session and channel")

-- protocols by name, with what Wireshark knows of them
local BY_NAME = {}

for _, P in ipairs(PROTOCOLS) do
  local proto, prefix = new_proto(P.prefix, P.name)
  P.proto, P.abbr = proto, prefix
  P.F = {}
  local ordered = {}
  for number, each in ipairs(P.fields) do
    local names = each[4] > 0 and P.names[each[4]].names or nil
    local name = each[1]
    P.F[number] = new_field(prefix .. "." .. name, name:match("[^.]*$"), each[2], each[3], names, each[5])
    local count = 0
    for _ in pairs(names or {}) do count = count + 1 end
    ordered[number] = { number, each[2] == "bytes" and 0 or 1, count }
  end
  -- of several fields of one name a filter takes the first for its texts: let it be the one with the most
  table.sort(ordered, function(a, b)
    if a[2] ~= b[2] then return a[2] > b[2] end
    if a[3] ~= b[3] then return a[3] > b[3] end
    return a[1] < b[1]
  end)
  local fields = {}
  for place, each in ipairs(ordered) do fields[place] = P.F[each[1]] end
  P.time = ProtoField.relative_time(prefix .. ".time", "time", "from the request to its answer")
  P.response_in = ProtoField.framenum(prefix .. ".response_in", "response_in", base.NONE, frametype.RESPONSE, nil,
    "the packet with the answer")
  P.response_to = ProtoField.framenum(prefix .. ".response_to", "response_to", base.NONE, frametype.REQUEST, nil,
    "the packet that this answers")
  fields[#fields + 1] = P.time
  fields[#fields + 1] = P.response_in
  fields[#fields + 1] = P.response_to
  proto.fields = fields
  BY_NAME[P.name] = P
end

-- -------------------------------------------------------------------------------------------------------------------
-- Trees

local function add_value(tree, P, number, range, value)
  local field, type_ = P.F[number], P.fields[number][2]
  if type_ == "bool" or type_ == "string" then return tree:add(field, range, value) end
  if type_ == "bytes" or type_ == "none" then return tree:add(field, range) end
  if type(value) == "boolean" then value = value and 1 or 0 end
  if type_ == "uint64" then return tree:add(field, range, UInt64.new(halves(value))) end
  if type_ == "int64" then return tree:add(field, range, Int64.new(halves(value))) end
  return tree:add(field, range, value)
end

local show_nodes

-- The bits that are set, below their word and behind it.
local function show_bits(item, P, bits, device, range, value)
  if device ~= nil then bits = bits[device] or bits[""] end
  local found = bit_names(value, bits)
  if #found == 0 then return end
  item:append_text(" (" .. concat(found, ", ") .. ")")
  local half, above = halves(value)
  local place = 0
  while half > 0 or above > 0 do
    if half == 0 then half, above, place = above, 0, 32 end
    if half % 2 == 1 and bits[place] then item:add(P.F[bits[place][2]], range, true) end
    half = floor(half / 2)
    place = place + 1
  end
end

-- What a piece of a device's configuration space holds.
local function show_config(item, P, s, at, tvb, fields, context, big)
  local layouts = P.configs and context.device and P.configs[context.device]
  local layout
  for _, number in ipairs(layouts or {}) do
    local fits = true
    for _, gate in ipairs(P.layouts[number].needs or {}) do
      if not (context[gate[1]] and agreed_on(gate, context[gate[1]])) then fits = false end
    end
    if fits then
      layout = P.layouts[number]
      break
    end
  end
  if not layout then return end
  -- of a legacy device it is in the guest's byte order, which is taken to be the hosts'
  local order = big and not (context.virtio == nil or bit_of(context.virtio, 32)) and not layout.little
  local offset = number_in(fields, "offset")
  local found, place = {}, 0
  for _, step in ipairs(layout.steps) do
    if step.kind ~= "run" then break end
    for _, member in ipairs(step.items) do
      if offset <= place and place + member.size <= offset + #s then
        local nodes = {}
        read_item(member, found, nodes, s, place - offset, order)
        show_nodes(item, P, tvb, at, nodes, context, found, big)
      end
      place = place + member.size
    end
  end
end

local json_dissector

local function show_octets(tree, P, member, tvb, at, value, context, fields, big, pinfo)
  local range = tvb(at, #value)
  local show = member.show
  if member.text then return tree:add(P.F[member.text], range, (printable(value))) end
  local item = tree:add(P.F[member.field], range)
  if show == "secret" then
    item:set_text(member.name .. ": " .. octets_text(value, show))
  elseif show == "config" then
    show_config(item, P, value, at, tvb, fields, context, big)
  elseif show == "json" then
    local text = value:match("^[^\0]*")
    item:append_text(" (" .. printable(text) .. ")")
    if pinfo and #text > 0 and json_object(text) then
      json_dissector = json_dissector or Dissector.get("json")
      json_dissector:call(tvb(at, #text):tvb(), pinfo, item)
    end
  elseif show and #value > 0 then
    item:append_text(" (" .. octets_text(value, show) .. ")")
  end
  return item
end

function show_nodes(tree, P, tvb, start, nodes, context, fields, big, pinfo)
  for _, node in ipairs(nodes) do
    local member, at, value = node[1], start + node[2], node[4]
    local kind = type(value)
    if kind == "table" then
      local item = tree:add(P.F[member.field], tvb(at, node[3]))
      item:set_text(member.name)
      show_nodes(item, P, tvb, node[5] and start + node[5] or start, value, context, fields, big, pinfo)
    elseif kind == "string" then
      show_octets(tree, P, member, tvb, at, value, context, fields, big, pinfo)
    else
      local range = tvb(at, node[3])
      local item = add_value(tree, P, member.field, range, value)
      if member.bits then
        show_bits(item, P, member.bits, member.device and (context.device or "") or nil, range, value)
      elseif member.show == "size" or member.show == "result" or member.show == "fourcc" then
        local text = integer_text(value, member.show)
        if text ~= number_of(value, "byte") then item:append_text(" (" .. text .. ")") end
      end
    end
  end
end

-- -------------------------------------------------------------------------------------------------------------------
-- Sessions: what was agreed, who waits. All by what was seen first; kept by packet number.

local REPLY_ACK, ACK_SIZE = 3, 8
local MOST_WAITING = 1024
local CONTEXT = {}  -- nothing is known

-- packet number -> what was found out when it was first seen
local frames = {}
local sessions = {}
-- lanes of long messages that are not complete yet
local joining = {}
-- the type of device that the relay was told
local told

function spy.init()
  frames, sessions, joining, told = {}, {}, {}, nil
end

local function session_of(number)
  local session = sessions[number]
  if not session then
    local given = spy.prefs.device ~= "" and spy.prefs.device or told
    session = { context = { device = DEVICES[given or ""] }, queues = {}, given = DEVICES[given or ""] ~= nil,
      evidence = { messages = {} } }
    sessions[number] = session
  end
  return session
end

local function knows(session, name, value)
  local context = {}
  for key, old in pairs(session.context) do context[key] = old end
  context[name] = value
  session.context = context
end

-- Whether the sender of a request now waits for an answer: as its row says.
local function expects_answer(m, context)
  local row = m.row
  local how = row and row.answer or "ack"
  if m.msgid then return m.need_reply and how ~= "never" end
  if how == "reply" then return true end
  if how == "never" then return false end
  if m.need_reply and (how == "asked" or context.protocol == nil or bit_of(context.protocol, REPLY_ACK)) then
    return true
  end
  if how == "with-fds" and row.fds_need then
    local agreed = context[row.fds_need[1]]
    if agreed == nil then return m.fds > 0 end
    return agreed_on(row.fds_need, agreed)
  end
  return how == "postcopy" and context.postcopy and m.size > ACK_SIZE
end

-- Which device a session is about, as far as it shows: first by messages and bits that only one has, then by the
-- length of its configuration space, then by feature bits that point to one.
local function infer(evidence)
  local telling = RECORD.telling
  for name in pairs(evidence.messages) do
    if telling.messages[name] then return telling.messages[name] end
  end
  local function all(places, set)
    for _, place in ipairs(places) do
      if (evidence.virtio ~= nil and bit_of(evidence.virtio, place)) ~= set then return false end
    end
    return true
  end
  local told
  for _, one in ipairs(telling.bits) do
    if not told and all(one.set, true) then told = one.device end
  end
  if evidence.protocol and bit_of(evidence.protocol, telling.crypto) and told ~= "net" then return "crypto" end
  local function fits(device)
    if telling.queues[device] then return evidence.queues == telling.queues[device] end
    for _, one in ipairs(telling.unlikely[device] or {}) do
      if all(one.set, true) and all(one.clear, false) then return false end
    end
    return true
  end
  local candidates = evidence.config and telling.config_sizes[evidence.config]
  if candidates then
    local found = {}
    for _, device in ipairs(candidates) do
      if #candidates == 1 or fits(device) then found[#found + 1] = device end
    end
    if #found == 1 then return found[1] end
  end
  return told
end

local function learn(session)
  if session.given then return end
  local device = infer(session.evidence)
  if device ~= session.context.device then knows(session, "device", device) end
end

local REQUESTS, REPLIES = {}, {}

for name in pairs(RECORD.telling.messages) do
  REQUESTS[name] = function(session)
    session.evidence.messages[name] = true
    learn(session)
  end
end

function REPLIES.GET_FEATURES(session, fields)
  if fields.features == nil then return end
  session.evidence.virtio = fields.features
  learn(session)
end

function REPLIES.GET_PROTOCOL_FEATURES(session, fields)
  if fields.protocol_features == nil then return end
  session.evidence.protocol = fields.protocol_features
  learn(session)
end

function REPLIES.GET_QUEUE_NUM(session, fields)
  session.evidence.queues = number_in(fields, "queues")
  learn(session)
end

function REPLIES.GET_CONFIG(session, fields)
  local config = fields.config or ""
  if config == "" or number_in(fields, "offset") ~= 0 then return end
  if not session.evidence.config or #config > session.evidence.config then session.evidence.config = #config end
  learn(session)
end

function REQUESTS.SET_FEATURES(session, fields)
  if fields.features ~= nil then knows(session, "virtio", fields.features) end
end

function REQUESTS.SET_PROTOCOL_FEATURES(session, fields)
  if fields.protocol_features ~= nil then knows(session, "protocol", fields.protocol_features) end
end

function REQUESTS.POSTCOPY_ADVISE(session) knows(session, "postcopy", false) end
function REQUESTS.POSTCOPY_LISTEN(session) knows(session, "postcopy", true) end
function REQUESTS.POSTCOPY_END(session) knows(session, "postcopy", false) end

function REPLIES.POSTCOPY_LISTEN(session, fields, m)
  if m.failed then knows(session, "postcopy", false) end
end

-- The request that a reply answers.
local function request_of(queue, m, sender)
  local function fits(request)
    return request and request.id == m.id and request.sender == 1 - sender and request.msgid == m.msgid
  end
  for place, request in ipairs(queue.waiting) do
    if fits(request) then
      table.remove(queue.waiting, place)
      return request
    end
  end
  local unasked = queue.unasked
  if fits(unasked) then
    queue.unasked = nil
    return unasked
  end
end

-- A message passes: what is known before it, what it answers, what is known after it.
local function pass(P, record, m, frame, number)
  local session = session_of(record.session)
  local context = session.context
  frame.context = context
  if m.kind == "raw" or record.original then return end
  local queue_key = record.channel_key
  local queue = session.queues[queue_key]
  if not queue then
    queue = { waiting = {} }
    session.queues[queue_key] = queue
  end
  local dropped = record.dropped
  if m.kind == "request" then
    if not dropped then
      local request = { id = m.id, msgid = m.msgid, sender = record.sender, frame = number, no = record.no,
        monotonic = record.monotonic, row = m.row }
      if expects_answer(m, context) then
        queue.waiting[#queue.waiting + 1] = request
        if #queue.waiting > MOST_WAITING then table.remove(queue.waiting, 1) end
      else
        queue.unasked = request
      end
    end
  else
    local request = request_of(queue, m, record.sender)
    if request then
      if dropped then
        -- nobody got it: the request is still waited for
        table.insert(queue.waiting, 1, request)
      end
      frame.request = request.frame
      -- of two messages that have its number, its size may have made it the other's
      if request.row and request.row ~= m.row then frame.row = request.row end
      frame.answers = request.no
      local low, high = record.monotonic[1] - request.monotonic[1], record.monotonic[2] - request.monotonic[2]
      local span = high * TWO_32 + low
      frame.latency = span > 0 and span or 0
      local asked = frames[request.frame]
      if asked then asked.response = number end
    end
  end
end

local function after(record, m, fields)
  if m.kind == "raw" or record.dropped or record.original or record.incomplete then return end
  if record.channel ~= "main" or record.protocol ~= "vhost-user" or not m.row then return end
  local handler = (m.kind == "request" and REQUESTS or REPLIES)[m.row.name]
  if handler then handler(session_of(record.session), fields, m) end
end

-- -------------------------------------------------------------------------------------------------------------------
-- Messages

-- Of messages that have one number the one whose layouts have room for a payload of this size.
local function row_of(P, channel, asker, id, size, reply)
  local row = channel.messages[asker] and channel.messages[asker][id]
  if not row or not row.others then return row end
  local function fits(each)
    for _, alternative in ipairs(reply and each.reply or each.request) do
      local layout = P.layouts[alternative[1]]
      if layout.size and size == layout.size or not layout.size and size >= layout.least then return true end
    end
    return false
  end
  if fits(row) then return row end
  for _, other in ipairs(row.others) do
    if fits(other) then return other end
  end
  return row
end

-- Whether a reply of that size is an acknowledgement.
local function acknowledged(P, row, size)
  if row.acks then return true end
  for _, alternative in ipairs(row.reply) do
    if alternative[1] == P.ack and size == 8 then return true end
  end
  return false
end

-- The header, and what it makes of the message.
local function meaning(P, record, s)
  local channel = P and P.channels[record.channel]
  if record.kind == 2 or not channel or #s < channel.length then return { kind = "raw" } end
  local big = record.big
  local m = { channel = channel, kind = "request", id = word(s, channel.id_at, channel.id_size, big),
    flags = word(s, channel.flags_at, 4, big), size = word(s, channel.size_at, 4, big), fds = record.fds }
  local asker = record.sender
  if channel.msgid_at then m.msgid = word(s, channel.msgid_at, 2, big) end
  if both(m.flags, channel.reply_mask) == channel.reply_value then
    asker = 1 - record.sender
    m.kind = "reply"
    m.need_reply = both(m.flags, channel.need_reply_mask) ~= 0
    if channel.error_mask then
      m.error = both(m.flags, channel.error_mask) ~= 0 and word(s, channel.error_at, 4, big) or 0
    end
  elseif channel.no_reply_mask then
    m.need_reply = both(m.flags, channel.no_reply_mask) == 0
  else
    m.need_reply = both(m.flags, channel.need_reply_mask) ~= 0
  end
  m.asker = asker
  local size = m.size - (channel.counts_header and channel.length or 0)
  m.row = row_of(P, channel, asker, m.id, size, m.kind == "reply")
  if m.kind == "reply" and m.row and acknowledged(P, m.row, size) then m.kind = "ack" end
  return m
end

local function is_reply(m) return m.kind == "reply" or m.kind == "ack" end

local function title_of(m)
  if m.kind == "raw" then return "(unread octets)" end
  if not m.row then return "unknown " .. (is_reply(m) and "reply" or "message") .. " " .. dec(m.id) end
  return m.kind == "ack" and m.row.name .. " ack" or m.row.name
end

local function said_no(P, m, decoded)
  if not is_reply(m) then return false end
  if m.error then return m.error ~= 0 end
  for _, step in ipairs(decoded.layout and decoded.layout.steps or {}) do
    for _, member in ipairs(step.items or {}) do
      local value = decoded.fields[member.name]
      if member.show == "result" and value and not is_zero(value) then return true end
    end
  end
  local value = decoded.fields.error
  return value == true or (type(value) == "number" or type(value) == "userdata") and not is_zero(value)
end

-- Header, links and members; gives the item of the octets that no member explains, or of the message.
local function show_members(P, tvb, item, m, s, payload, decoded, record, frame, pinfo)
  local context = frame.context or CONTEXT
  local _, header = read_at(P, P.layouts[m.channel.layout], s, 0, record.big)
  for _, node in ipairs(header) do
    if node[1].name == m.channel.id then
      add_value(item, P, m.channel.ids[m.asker + 1] or m.channel.ids[1], tvb(node[2], node[3]), node[4])
    else
      show_nodes(item, P, tvb, 0, { node }, context, {}, record.big)
    end
  end
  if frame.request then
    item:add(P.response_to, frame.request):set_generated()
    local seconds = floor(frame.latency / 1000000000)
    item:add(P.time, NSTime.new(seconds, floor(frame.latency - seconds * 1000000000))):set_generated()
  end
  if frame.response then item:add(P.response_in, frame.response):set_generated() end
  local start = m.channel.length
  show_nodes(item, P, tvb, start, decoded.nodes, context, decoded.fields, record.big, pinfo)
  if decoded.rest then return item:add(P.F[P.rest], tvb(start + decoded.at, #payload - decoded.at)) end
  if (not m.row or m.error and m.error ~= 0) and #payload > 0 then item:add(P.F[P.rest], tvb(start, #payload)) end
  return item
end

-- Whether anybody looks at the fields of this protocol: then they have to be there.
local function wanted(tree, proto)
  return tree.visible or tree:referenced(Dissector.get(proto))
end

-- A whole message, header and payload. `record`: what is known of it; `frame`: what is kept of its packet.
local function show_message(P, tvb, s, pinfo, tree, top, record, frame)
  local m = meaning(P, record, s)
  local first = not pinfo.visited and not frame.passed
  if first then
    frame.passed = true
    pass(P, record, m, frame, pinfo.number)
  end
  local context = frame.context or CONTEXT
  if frame.row then
    m.row = frame.row
    m.kind = acknowledged(P, m.row, record.length - m.channel.length) and "ack" or "reply"
  end
  local payload = m.channel and sub(s, m.channel.length + 1) or s
  local decoded = { fields = {}, nodes = {}, at = 0, missing = 0 }
  local info
  if m.kind ~= "raw" and m.row and not (m.error and m.error ~= 0) then
    decoded = decode(P, is_reply(m) and m.row.reply or m.row.request, payload, context, record.big)
    info = info_line(P, decoded, payload, record.snapped)
  elseif m.error and m.error ~= 0 then
    info = "failed: " .. (RECORD.errors[m.error] or "error") .. " (" .. dec(m.error) .. ")"
  elseif m.kind == "raw" then
    info = number_of(#s, "byte")
  else
    info = number_of(record.length - m.channel.length, "byte")
  end
  m.failed = said_no(P, m, decoded)
  if first then after(record, m, decoded.fields) end

  local title = title_of(m)
  local shown = record.shown == nil or record.shown
  if shown and m.row then top:add(R.message, m.row.name):set_generated() end
  if shown then
    top:add(R.kind, m.kind):set_generated()
    if m.need_reply then top:add(R.need_reply, true):set_generated() end
    if m.failed then top:add(R.failed, true):set_generated() end
    if info ~= "" then top:add(R.info, info):set_generated() end
    if frame.answers then top:add(R.answers, UInt64.new(halves(frame.answers))):set_generated() end
  end

  if m.kind == "raw" then
    local item = top
    if #s > 0 then item = tree:add(R.octets, tvb(0, #s)) end
    item:add_proto_expert_info(UNREAD)
    return title, info
  end
  local item = tree:add(P.proto, tvb(0, #s), P.name .. ", " .. title .. (info ~= "" and ", " .. info or ""))
  if not m.row then item:add_proto_expert_info(UNKNOWN, title .. " is not known") end
  local rest = item
  if wanted(tree, P.abbr) then rest = show_members(P, tvb, item, m, s, payload, decoded, record, frame, pinfo) end
  if decoded.rest then
    if decoded.missing > 0 then
      if not record.snapped then rest:add_proto_expert_info(MISSING, missing_text(decoded)) end
    else
      rest:add_proto_expert_info(MORE, number_of(#payload - decoded.at, "byte") .. " more than expected")
    end
  end
  if m.failed then item:add_proto_expert_info(FAILED, info) end
  return title, info
end

-- -------------------------------------------------------------------------------------------------------------------
-- Records

-- The record's header; nil and why not where there is none.
local function read_record(s)
  if sub(s, 1, 4) ~= "vspy" then return nil, "no record of vhostspy's" end
  if #s < 88 then return nil, "cut within its header" end
  local version = byte(s, 5)
  if version > RECORD.version then return nil, "written by a newer vhostspy (records of version " .. version .. ")" end
  local flags = word(s, 12, 4)
  local record = {
    kind = byte(s, 6), header = word(s, 6, 2), protocol = PROTOCOL_NAMES[byte(s, 9)] or "", big = byte(s, 10) ~= 0,
    channel = CHANNELS[byte(s, 11)] or "", sender = byte(s, 12), flags = flags, session = word(s, 16, 4),
    channel_no = word(s, 24, 4), no = integer(s, 32, 8), wall = { word(s, 40, 4), word(s, 44, 4) },
    monotonic = { word(s, 48, 4), word(s, 52, 4) }, length = integer(s, 64, 8), offset = integer(s, 72, 8),
    fds = word(s, 84, 2), entry = word(s, 86, 2),
  }
  if record.header < 88 or (record.fds > 0 and record.entry < 128) then
    return nil, "a header of " .. record.header .. " octets, a descriptor of " .. record.entry
  end
  if type(record.length) ~= "number" or type(record.offset) ~= "number" then
    return nil, "longer than any message"
  end
  record.body = record.header + record.fds * record.entry
  for place, mark in ipairs(RECORD.marks) do
    if floor(flags / mark[1]) % 2 == 1 then record[mark[2]] = true end
  end
  record.channel_key = record.protocol .. "/" .. record.channel .. "/" .. record.channel_no
  return record
end

local function known(flags, place) return floor(flags / place) % 2 == 1 end

-- The descriptors, and what the list says of them.
local function show_descriptors(tree, tvb, s, record)
  local counted, order = {}, {}
  for number = 0, record.fds - 1 do
    local at = record.header + number * record.entry
    if at + record.entry > #s then break end
    local has = byte(s, at + 4)
    local role, kind = ROLES[byte(s, at + 1)], KINDS[byte(s, at + 2)] or "other"
    if byte(s, at + 2) == 0 then kind = nil end
    local what = role and kind and role .. " " .. kind or role or kind or "descriptor"
    local name = sub(s, at + 41, at + 128):gsub("\0+$", "")
    if not counted[what] then order[#order + 1] = what end
    counted[what] = (counted[what] or 0) + 1
    if record.shown then
      local item = tree:add(R.fd, tvb(at, 128))
      item:set_text("descriptor: " .. what .. (name ~= "" and ", " .. escaped(name) or ""))
      item:add_le(R.fd_role, tvb(at, 1))
      item:add_le(R.fd_kind, tvb(at + 1, 1))
      item:add_le(R.fd_access, tvb(at + 2, 1))
      item:add_le(R.fd_known, tvb(at + 3, 1))
      if known(has, 2) then item:add_le(R.fd_seals, tvb(at + 4, 4)) end
      item:add_le(R.fd_device, tvb(at + 8, 8))
      item:add_le(R.fd_inode, tvb(at + 16, 8))
      if known(has, 1) then item:add_le(R.fd_size, tvb(at + 24, 8)) end
      if known(has, 4) then item:add_le(R.fd_eventfd_id, tvb(at + 32, 8)) end
      item:add(R.fd_name, tvb(at + 40, 88), escaped(name))
    end
  end
  if #order == 0 then return "" end
  for place, what in ipairs(order) do
    if counted[what] > 1 then order[place] = what .. " \195\151" .. counted[what] end
  end
  return "[" .. concat(order, ", ") .. "]"
end

local function show_record(tree, tvb, s, record)
  local where = record.channel ~= "" and record.channel .. " channel" or "no channel"
  local top = tree:add(spy, tvb(0, math.min(record.body, #s)))
  top:set_text("vhostspy record" .. (is_zero(record.no) and "" or " #" .. dec(record.no)) .. ", session "
    .. record.session .. ", " .. where)
  if not record.shown then return top end
  top:add_le(R.version, tvb(4, 1))
  top:add_le(R.record, tvb(5, 1))
  top:add_le(R.header_length, tvb(6, 2))
  top:add_le(R.protocol, tvb(8, 1))
  top:add_le(R.byte_order, tvb(9, 1))
  top:add_le(R.channel, tvb(10, 1))
  top:add_le(R.sender, tvb(11, 1))
  local marks = top:add_le(R.marks, tvb(12, 4))
  for _, mark in ipairs(RECORD.marks) do
    if record[mark[2]] then marks:add(R[mark[2]], tvb(12, 4), true) end
  end
  if byte(s, 16) > 0 then marks:add_le(R.by, tvb(15, 1)) end
  top:add_le(R.session, tvb(16, 4))
  if word(s, 20, 4) > 0 then top:add_le(R.previous, tvb(20, 4)) end
  top:add_le(R.channel_no, tvb(24, 4))
  top:add_le(R.reads, tvb(28, 4))
  top:add_le(R.no, tvb(32, 8))
  top:add_le(R.time_ns, tvb(40, 8))
  top:add_le(R.monotonic_ns, tvb(48, 8))
  top:add_le(R.span_ns, tvb(56, 8))
  top:add_le(R.length, tvb(64, 8))
  top:add_le(R.offset, tvb(72, 8))
  top:add_le(R.fds_at, tvb(80, 4))
  top:add_le(R.fds, tvb(84, 2))
  top:add_le(R.entry_size, tvb(86, 2))
  return top
end

local WARNING_EVENTS = { unread = true, gap = true, fault = true, reset = true }

local function show_event(tvb, s, pinfo, tree, top, record)
  local facts = json_object(s) or { event = "unknown", text = s }
  local name = type(facts.event) == "string" and facts.event or "unknown"
  local text = type(facts.text) == "string" and facts.text or ""
  if not pinfo.visited then
    if name == "start" and type(facts.device) == "string" and told == nil then told = facts.device end
    if name == "open" and record.session > 0 then
      local session = session_of(record.session)
      knows(session, "virtio", 0)
      knows(session, "protocol", 0)
    elseif name == "close" and sessions[record.session] then
      sessions[record.session].queues = {}
    end
  end
  local range = tvb(0, #s)
  top:add(R.event, range, escaped(name))
  local item = top:add(R.text, range, escaped(text))
  if WARNING_EVENTS[name] then
    item:add_proto_expert_info(EVENT_WARNS, escaped(text))
  elseif name == "eof" then
    item:add_proto_expert_info(EVENT_NOTES, escaped(text))
  end
  if #s > 0 then
    json_dissector = json_dissector or Dissector.get("json")
    json_dissector:call(range:tvb(), pinfo, tree)
  end
  return name, escaped(text)
end

-- The parts of a long message: the packet that completes it keeps all octets.
local function join(record, s, frame, number)
  local whole = record.offset + #s >= record.length or record.snapped or record.incomplete
  if whole and record.offset == 0 then return end
  local lane = concat({ record.session, record.channel_key, record.sender, record.kind }, "/")
  local open = joining[lane]
  joining[lane] = nil
  local function same(a, b) return a[1] == b[1] and a[2] == b[2] end
  if open and not (record.offset == open.octets and same(record.wall, open.wall)
      and same(record.monotonic, open.monotonic) and record.length == open.length) then
    open = nil
  end
  if open then
    open.parts[#open.parts + 1] = s
    open.frames[#open.frames + 1] = number
    open.octets = open.octets + #s
    if whole then
      frame.whole = { s = concat(open.parts), frames = open.frames, fds = open.fds }
      for _, each in ipairs(open.frames) do frames[each].whole_in = number end
    else
      joining[lane] = open
      frame.part = true
    end
  elseif record.offset == 0 then
    joining[lane] = { parts = { s }, frames = { number }, octets = #s, wall = record.wall, fds = record.fds,
      monotonic = record.monotonic, length = record.length }
    frame.part = true
  else
    frame.stray = true
  end
end

local function set_columns(pinfo, protocol, info)
  pinfo.cols.protocol:set(protocol)
  -- the file's own short text (tag 36) would stay in front of ours
  pcall(function() pinfo.cols.info:clear_fence() end)
  pinfo.cols.info:set(info)
end

-- Conversations and Endpoints count packets of networks only. So each message is also given to Wireshark's own UDP, as
-- one without a payload: with the session as the port of the front-end or client, and the kind of channel (1 main, 2
-- backend, …) as the other's. What that shows stays hidden. The addresses are the capture's; IP itself is left out, which
-- looks for maps of the world, and in tshark 4.0 falls over a home that it may not read.
local udp_dissector

local function count_conversation(record, s, pinfo, top)
  if record.sender > 1 or not spy.prefs.conversations then return end
  local ports = { format("%04x", record.session % 65536), format("%04x", byte(s, 11)) }
  local octets = ByteArray.new(ports[record.sender + 1] .. ports[2 - record.sender] .. "00080000")
  udp_dissector = udp_dissector or Dissector.get("udp")
  udp_dissector:call(octets:tvb("conversation"), pinfo, top:add(spy, "conversation"):set_hidden())
end

local function join_words(...)
  local words = {}
  for _, each in ipairs({ ... }) do
    if each ~= "" then words[#words + 1] = each end
  end
  return concat(words, "  ")
end

function spy.dissector(tvb, pinfo, tree)
  if tvb:len() == 0 then return 0 end
  local s = tvb(0, tvb:len()):raw()
  local record, problem = read_record(s)
  if not record then
    tree:add(spy, tvb(0, #s)):add_proto_expert_info(DAMAGED, problem)
    set_columns(pinfo, "vhostspy", "(damaged record: " .. problem .. ")")
    return #s
  end
  local cut = tvb:reported_len() > #s
  if record.body > #s and not cut then
    tree:add(spy, tvb(0, #s)):add_proto_expert_info(DAMAGED, "shorter than its header says")
    set_columns(pinfo, "vhostspy", "(damaged record: shorter than its header says)")
    return #s
  end
  if cut then record.snapped = true end
  record.shown = wanted(tree, "vhostspy")
  local top = show_record(tree, tvb, s, record)
  local about = show_descriptors(top, tvb, s, record)
  local body = sub(s, record.body + 1)
  local at = math.min(record.body, #s)
  local number = pinfo.number
  local frame = frames[number]
  if not frame then
    frame = {}
    frames[number] = frame
    if record.kind == 1 or record.kind == 2 then join(record, body, frame, number) end
  end
  if record.unsure_fds then top:add_proto_expert_info(UNSURE) end
  if record.changed or record.dropped or record.injected then top:add_proto_expert_info(CHANGED) end
  if record.incomplete then
    top:add_proto_expert_info(INCOMPLETE)
  elseif record.snapped then
    top:add_proto_expert_info(CUT)
  end

  if record.kind == 3 then
    local name, text = show_event(tvb(at, #body), body, pinfo, tree, top, record)
    set_columns(pinfo, "vhostspy", text ~= "" and text or name)
    return #s
  end
  if record.kind ~= 1 and record.kind ~= 2 then
    if #body > 0 then top:add(R.octets, tvb(at, #body)) end
    set_columns(pinfo, "vhostspy", RECORDS[record.kind] or "record of kind " .. record.kind)
    return #s
  end
  count_conversation(record, s, pinfo, top)
  local P = BY_NAME[record.protocol]
  if frame.part then
    if #body > 0 then tree:add(R.octets, tvb(at, #body)) end
    if frame.whole_in then top:add(R.whole_in, frame.whole_in):set_generated() end
    local place = "bytes " .. dec(record.offset) .. " to " .. dec(record.offset + #body - 1) .. " of "
      .. dec(record.length)
    set_columns(pinfo, record.protocol ~= "" and record.protocol or "vhostspy", join_words("(part)", place, about))
    return #s
  end
  if frame.stray then
    record.incomplete = true
    top:add_proto_expert_info(LOST)
  end
  local message, octets = tvb, body
  if frame.whole then
    octets = frame.whole.s
    record.fds = frame.whole.fds
    for _, each in ipairs(frame.whole.frames) do
      if each ~= number then top:add(R.part, each):set_generated() end
    end
    message = ByteArray.new(octets, true):tvb("Message")
  elseif #body > 0 then
    message = tvb(at, #body):tvb()
  end
  local title, info = show_message(P, message, octets, pinfo, tree, top, record, frame)
  set_columns(pinfo, record.protocol ~= "" and record.protocol or "vhostspy", join_words(title, info, about))
  return #s
end

-- Who may have sent it, where no record says that: the end that has such a message, or that answers it.
local function likely_sender(channel, s)
  if #s < channel.length then return 0 end
  local messages = channel.messages[0]
  local asker = messages and messages[word(s, channel.id_at, channel.id_size)] and 0 or 1
  return both(word(s, channel.flags_at, 4), channel.reply_mask) == channel.reply_value and 1 - asker or asker
end

-- Called by other scripts, or by hand: the first channel's header, this machine's usual byte order, nothing agreed.
for _, P in ipairs(PROTOCOLS) do
  function P.proto.dissector(tvb, pinfo, tree)
    if tvb:len() == 0 then return 0 end
    local s = tvb(0, tvb:len()):raw()
    local channel = P.channels.main and "main" or next(P.channels)
    local record = { kind = 1, protocol = P.name, channel = channel, sender = likely_sender(P.channels[channel], s),
      big = false, fds = 0, length = #s }
    local title, info = show_message(P, tvb, s, pinfo, tree, tree, record, { passed = true })
    set_columns(pinfo, P.name, join_words(title, info))
    return #s
  end
end
