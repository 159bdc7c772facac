// SPDX-License-Identifier: Apache-2.0

#include "tests/bench/rounds.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <stdexcept>

#include <fcntl.h>
#include <unistd.h>

namespace muster::bench {

namespace {

std::string number(double x) {
  if (x >= 1000)
    return fmt::format("{:.0f}", x);
  return fmt::format("{:.3g}", x);
}

bool is_wanted(const options& how, const std::string& name) {
  return name.find(how.only) != std::string::npos;
}

/// Measures once; what goes wrong is noted in the row.
void measure(row& to, const contender& what) {
  if (!to.not_run.empty())
    return;
  try {
    to.samples.push_back(what.measure());
  } catch (const std::exception& error) {
    to.not_run = error.what();
  }
}

const row* find(const std::vector<row>& rows, const std::string& name) {
  for (auto& x : rows)
    if (x.name == name && x.not_run.empty() && !x.samples.empty())
      return &x;
  return nullptr;
}

/// The median of a row divided, round by round, by another.
double ratio(const row& x, const row& by) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < x.samples.size() && i < by.samples.size(); ++i)
    ratios.push_back(x.samples[i] / by.samples[i]);
  return median(ratios);
}

} // namespace

double row::median() const {
  return bench::median(samples);
}

double median(std::vector<double> samples) {
  if (samples.empty())
    return 0;
  std::sort(samples.begin(), samples.end());
  auto middle = samples.size() / 2;
  return samples.size() % 2 == 1 ? samples[middle]
                                 : (samples[middle - 1] + samples[middle]) / 2;
}

double raw_syncs(const std::string& folder) {
  auto path = folder + "/probe";
  auto fd = ::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC,
                   S_IRUSR | S_IWUSR);
  if (fd < 0)
    throw std::runtime_error{"cannot write to " + folder};
  std::string record(256, 'x');
  auto begin = std::chrono::steady_clock::now();
  double count = 0;
  double elapsed = 0;
  while (elapsed < 0.25) {
    if (::write(fd, record.data(), record.size()) < 0 || ::fdatasync(fd) != 0) {
      ::close(fd);
      throw std::runtime_error{"cannot sync a file in " + folder};
    }
    ++count;
    elapsed
      = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin)
          .count();
  }
  ::close(fd);
  ::unlink(path.c_str());
  return count / elapsed;
}

std::vector<row> run_interleaved(const options& how,
                                 const std::vector<contender>& contenders) {
  std::vector<row> rows;
  for (auto& x : contenders)
    rows.push_back({x.name, x.unit, {}, {}, is_wanted(how, x.name) ? "" : "-"});
  for (int round = 0; round < how.rounds; ++round) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (!rows[i].not_run.empty())
        continue;
      std::fprintf(stderr, "round %d: %s\n", round + 1, rows[i].name.c_str());
      auto before = raw_syncs(how.folder);
      measure(rows[i], contenders[i]);
      rows[i].raw.push_back((before + raw_syncs(how.folder)) / 2);
    }
  }
  return rows;
}

row run_alone(const options& how, const contender& what, int rounds) {
  row out{what.name, what.unit, {}, {}, is_wanted(how, what.name) ? "" : "-"};
  if (out.not_run.empty())
    std::fprintf(stderr, "%s\n", what.name.c_str());
  for (int round = 0; round < rounds; ++round)
    measure(out, what);
  return out;
}

void print(const std::vector<row>& rows) {
  fmt::print("| what | median | lowest | highest | unit | x raw |\n"
             "| --- | --- | --- | --- | --- | --- |\n");
  for (auto& x : rows) {
    if (x.not_run == "-")
      continue;
    if (!x.not_run.empty()) {
      fmt::print("| {} | not run: {} | | | | |\n", x.name, x.not_run);
      continue;
    }
    auto [low, high] = std::minmax_element(x.samples.begin(), x.samples.end());
    std::vector<double> ratios;
    for (std::size_t i = 0; i < x.raw.size() && i < x.samples.size(); ++i)
      ratios.push_back(x.samples[i] / x.raw[i]);
    fmt::print("| {} | {} | {} | {} | {} | {} |\n", x.name, number(x.median()),
               number(*low), number(*high), x.unit,
               ratios.empty() ? "" : number(median(ratios)));
  }
}

int print(const std::vector<bar>& bars, const std::vector<row>& rows) {
  int missed = 0;
  fmt::print("\n| bar | asked for | reached | |\n| --- | --- | --- | --- |\n");
  for (auto& x : bars) {
    auto* measured = find(rows, x.row);
    auto* by = x.by.empty() ? nullptr : find(rows, x.by);
    auto asked = fmt::format("at {} {}{}", x.at_least ? "least" : "most",
                             number(x.value), x.by.empty() ? "" : " x " + x.by);
    if (!measured || (!x.by.empty() && !by)) {
      fmt::print("| {} | {} | not run | |\n", x.row, asked);
      continue;
    }
    auto reached = by ? ratio(*measured, *by) : measured->median();
    auto ok = x.at_least ? reached >= x.value : reached <= x.value;
    missed += ok ? 0 : 1;
    fmt::print("| {} | {} | {} | {} |\n", x.row, asked, number(reached),
               ok ? "reached" : "missed");
  }
  return missed;
}

} // namespace muster::bench
