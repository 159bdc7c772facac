// SPDX-License-Identifier: Apache-2.0

// What the suites share that call a node through the client library, from
// several threads.

#pragma once

#include "app/client/client.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <utility>

namespace muster::test {

/// Nothing takes longer. The bounds that are tested, such as the one within
/// which a peer notices that the other one is gone, are a few seconds.
constexpr auto patience = std::chrono::seconds(60);

constexpr const char* ask = "return alc.llm('why?')";

constexpr const char* ask_thrice
  = "local t = {} for i = 1, 3 do t[i] = alc.llm('why ' .. i) end return t";

/// Runs for a good while behind its answer.
constexpr const char* ask_and_work = "local x = alc.llm('why?')\n"
                                     "for i = 1, 3e7 do end\n"
                                     "return x";

inline session_spec spec_of(const char* code) {
  session_spec out;
  out.code = code;
  return out;
}

template <class F>
auto in_background(F f) {
  return std::async(std::launch::async, std::move(f));
}

/// What a call gave, which must come.
template <class T>
T result_of(std::future<T>& call) {
  if (call.wait_for(patience) != std::future_status::ready) {
    // It would be waited for in vain.
    std::fputs("a call does not come back\n", stderr);
    std::abort();
  }
  return call.get();
}

} // namespace muster::test
