-- SPDX-License-Identifier: Apache-2.0
local kit = {meta = {name = "kit", version = "1"}}
kit.asked = alc and alc.llm("while loading") or "no alc"
function kit.greet(name) return kit.asked .. ", " .. name end
function kit.run(ctx) ctx.result = kit.greet(ctx.task or "nobody") return ctx end
return kit
