// SPDX-License-Identifier: Apache-2.0

#include "tests/bench/groups.hpp"
#include "tests/bench/in_process_node.hpp"

#include "actors/pod/scope_table.hpp"

#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <stdexcept>

namespace muster::bench {

namespace {

using clock = std::chrono::steady_clock;

/// Allocations that others are compared with.
constexpr int many_allocations = 1'000;

/// Allocations of folders that lie apart.
scope_table table_of_many() {
  scope_table out{pod_operator, {{{"/", permission::write, true}}, {}}};
  int ids = 0;
  for (int i = 0; i < many_allocations; ++i)
    if (!out.lend(
          {pod_operator,
           fmt::format("pod{}", i),
           {{{fmt::format("/srv/tree/{}/src", i), permission::write, true}},
            {}},
           {}},
          [&] { return fmt::format("l-{}", ++ids); }))
      throw std::runtime_error{"a scope cannot be lent"};
  return out;
}

/// How long one call takes, in microseconds.
template <class F>
double time_of(int count, F call) {
  auto begin = clock::now();
  for (int i = 0; i < count; ++i)
    call(i);
  std::chrono::duration<double, std::micro> took = clock::now() - begin;
  return took.count() / count;
}

double check_of_path() {
  auto table = table_of_many();
  return time_of(20'000, [&](int i) {
    auto n = i % many_allocations;
    auto found = table.permission_of(
      fmt::format("pod{}", n), fmt::format("/srv/tree/{}/src/a/b/c.txt", n));
    if (!found || *found != permission::write)
      throw std::runtime_error{"a pod may not write to what it was lent"};
  });
}

double lend_among_many() {
  auto table = table_of_many();
  return time_of(5'000, [&](int i) {
    auto name = fmt::format("new{}", i);
    lend_request request{
      pod_operator,
      name,
      {{{fmt::format("/srv/new/{}", i), permission::write, true}}, {}},
      {}};
    if (!table.lend(request, [&] { return "n-" + name; }))
      throw std::runtime_error{"a scope cannot be lent"};
    if (!table.release(name))
      throw std::runtime_error{"a scope cannot be given back"};
  });
}

/// How long it takes until a pod is ready and on disk, in milliseconds.
double start_of_pod(const options& how, pod_class kind) {
  scratch folder{how.folder};
  scratch work{how.folder};
  in_process_node node{folder.path()};
  std::vector<double> samples;
  for (int i = 0; i < 10; ++i) {
    pod_order order;
    order.name = fmt::format("pod{}", i);
    order.scope
      = {{fmt::format("{}/{}", work.path(), i), permission::write, true}};
    std::filesystem::create_directory(order.scope.front().target);
    order.kind = kind;
    if (kind == pod_class::plain)
      order.command = {"sleep", "1000"};
    auto begin = clock::now();
    node.ask<pod_view>(pod_atom::value, spawn_atom::value, order,
                       std::string{once});
    std::chrono::duration<double, std::milli> took = clock::now() - begin;
    samples.push_back(took.count());
    node.ask<pod_stop_reply>(pod_atom::value, stop_atom::value, order.name);
  }
  return median(std::move(samples));
}

} // namespace

group pods(const options& how) {
  group out;
  out.rows = run_interleaved(
    how, {
           {"pods, check of a path among 1,000 allocations", "us",
            [] { return check_of_path(); }},
           {"pods, lend and release among 1,000 allocations", "us",
            [] { return lend_among_many(); }},
           {"pods, start of a plain program", "ms",
            [&] { return start_of_pod(how, pod_class::plain); }},
           {"pods, start of the reference pod", "ms",
            [&] { return start_of_pod(how, pod_class::protocol); }},
         });
  out.bars = {
    {"pods, check of a path among 1,000 allocations", false, 5, ""},
    {"pods, lend and release among 1,000 allocations", false, 100, ""},
    {"pods, start of a plain program", false, 100, ""},
    {"pods, start of the reference pod", false, 100, ""},
  };
  return out;
}

} // namespace muster::bench
