// SPDX-License-Identifier: Apache-2.0

#include "actors/pod/pod_agent_output.hpp"

#include "actors/process/system_call.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>

#include <fcntl.h>

namespace muster {

namespace {

tl::unexpected<failure> failed(const std::string& path, int error) {
  auto code = errc::storage_failed;
  if (error == EACCES || error == EPERM || error == EROFS)
    code = errc::not_allowed;
  else if (error == ENOSPC || error == EDQUOT)
    code = errc::storage_full;
  return fail(code, fmt::format("cannot write the output log '{}': {}", path,
                                std::strerror(error)));
}

/// The number of `000001.jsonl`; 0 for any other name.
std::uint64_t number_of(const std::string& name) {
  std::uint64_t out = 0;
  auto* end = name.data() + name.size();
  auto [rest, error] = std::from_chars(name.data(), end, out);
  auto is_one = error == std::errc{} && std::string_view{rest, end} == ".jsonl";
  return is_one ? out : 0;
}

} // namespace

expected<pod_agent_output> pod_agent_output::open(std::string folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    return failed(folder, error.value());
  pod_agent_output out{std::move(folder)};
  for (auto& entry : std::filesystem::directory_iterator{out.folder_, error})
    out.number_ = std::max(out.number_, number_of(entry.path().filename()));
  if (error)
    return failed(out.folder_, error.value());
  if (auto begun = out.advance(); !begun)
    return tl::unexpected<failure>{begun.error()};
  return out;
}

expected<void> pod_agent_output::append(const json& line) {
  // A file must end with a whole line before the next one begins.
  if (size_ >= max_file_bytes && !is_torn_)
    if (auto begun = advance(); !begun)
      return begun;
  // What is left of a line must not become the beginning of another one.
  auto text = line.dump();
  text.push_back('\n');
  if (is_torn_)
    text.insert(0, 1, '\n');
  auto n = uninterrupted(
    [&] { return ::write(file_.get(), text.data(), text.size()); });
  auto error = errno;
  if (n > 0)
    size_ += static_cast<std::uint64_t>(n);
  if (n == static_cast<ssize_t>(text.size())) {
    is_torn_ = false;
    return {};
  }
  is_torn_ = is_torn_ || n > 0;
  return failed(folder_, n < 0 ? error : ENOSPC);
}

expected<void> pod_agent_output::advance() {
  auto path = fmt::format("{}/{:06}.jsonl", folder_, number_ + 1);
  descriptor file{uninterrupted([&] {
    return ::open(path.c_str(),
                  O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
  })};
  if (!file)
    return failed(path, errno);
  file_ = std::move(file);
  ++number_;
  size_ = 0;
  return {};
}

} // namespace muster
