// SPDX-License-Identifier: Apache-2.0

#include "tests/bench/groups.hpp"
#include "tests/bench/in_process_node.hpp"
#include "tests/bench/redis.hpp"

namespace muster::bench {

namespace {

/// Feeds `count` sessions of a node that is there for nobody else.
double feed_rate(const options& how, std::size_t count) {
  scratch folder{how.folder};
  in_process_node node{folder.path()};
  auto ids = node.spawn(asking_script(), count);
  // What is set up at the first feed is not what is measured.
  node.feed(ids, 0.05);
  return node.feed(ids, how.seconds);
}

double spawn_rate(const options& how) {
  scratch folder{how.folder};
  in_process_node node{folder.path()};
  node.spawn(asking_script(), 50);
  return node.spawn_rate(asking_script(), 50, how.seconds);
}

double redis_rate(const options& how, int clients) {
  scratch folder{how.folder};
  redis server{folder.path()};
  return server.writes(clients, how.seconds);
}

} // namespace

group durable(const options& how) {
  group out;
  out.rows = run_interleaved(
    how,
    {
      {"redis, 1 client", "writes/s", [&] { return redis_rate(how, 1); }},
      {"feed, 1 session", "feeds/s", [&] { return feed_rate(how, 1); }},
      {"redis, 50 clients", "writes/s", [&] { return redis_rate(how, 50); }},
      {"feed, 50 sessions", "feeds/s", [&] { return feed_rate(how, 50); }},
      {"feed, 1,000 sessions", "feeds/s",
       [&] { return feed_rate(how, 1'000); }},
      {"spawn, 50 at a time", "sessions/s", [&] { return spawn_rate(how); }},
    });
  out.bars = {
    {"feed, 1 session", true, 1.0, "redis, 1 client"},
    {"feed, 50 sessions", true, 1.0, "redis, 50 clients"},
    {"feed, 1,000 sessions", true, 0.9, "feed, 50 sessions"},
    {"spawn, 50 at a time", true, 0.5, "feed, 50 sessions"},
  };
  return out;
}

} // namespace muster::bench
