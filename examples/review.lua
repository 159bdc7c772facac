-- SPDX-License-Identifier: Apache-2.0

-- Reviews a change the way a team would: one plans, several look at once, one
-- decides. It pauses three times; the second pause asks several queries.
--
--   muster run examples/review.lua --ctx '{"change": "..."}' --answer CMD

local change = ctx.change or error("ctx.change must hold the change to review")
local most = ctx.most or 3

local function names_in(text)
  local names = {}
  for name in text:gmatch("[^,\n]+") do
    name = name:match("^%s*(.-)%s*$")
    if name ~= "" and #names < most then
      names[#names + 1] = name
    end
  end
  return names
end

-- The first pause: one query.
local concerns = names_in(alc.llm(
  "Name up to " .. most .. " concerns that matter most in a review of this "
    .. "change, with commas between them and nothing else.\n\n" .. change,
  { system = "You plan code reviews.", max_tokens = 64 }
))

-- The second: a query for each concern, answered in any order.
local findings = alc.parallel(concerns, function(concern)
  return {
    prompt = "Review this change for " .. concern .. " only, in one sentence."
      .. "\n\n" .. change,
    system = "You review code.",
    max_tokens = 256,
  }
end)

local notes = {}
for i, concern in ipairs(concerns) do
  notes[i] = concern .. ": " .. findings[i]
end

-- The third, which needs all of them.
local verdict = alc.llm(
  "Decide on the change: answer 'accept' or 'revise', then why.\n\n"
    .. table.concat(notes, "\n"),
  { system = "You lead the team.", max_tokens = 128 }
)

-- Shared with all sessions of this node, and counted once whatever happens.
alc.state.incr("reviews")

return { change = change, notes = notes, verdict = verdict }
