-- SPDX-License-Identifier: Apache-2.0
-- Spends its budget and says so.
local out = {}
for i = 1, 5 do
  local ok, text = pcall(alc.llm, "query " .. i)
  out[#out + 1] = tostring(ok) .. " " .. text
  out[#out + 1] = alc.json_encode(alc.budget_remaining() or "none")
  out[#out + 1] = alc.budget_check()
end
alc.progress(5, 5, "spent")
alc.stats.record("tries", 5)
return {out, alc.stats.get("tries"), alc.stats.llm_calls()}
