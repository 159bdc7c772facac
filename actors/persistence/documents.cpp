// SPDX-License-Identifier: Apache-2.0

#include "actors/persistence/documents.hpp"

#include "messages/entry_reader.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace muster {

namespace {

// A document that is not finished stands beside the finished one, as
// `.<name>.<number>.tmp`.

std::string unfinished(const std::string& path, std::uint64_t number) {
  auto name = path.rfind('/') + 1;
  return fmt::format("{}.{}.{}.tmp", path.substr(0, name), path.substr(name),
                     number);
}

bool is_unfinished(const std::string& name) {
  return name.starts_with('.') && name.ends_with(".tmp")
         && name.find(".json.") != std::string::npos;
}

} // namespace

documents::documents(disk& where, std::string directory)
  : disk_(where), directory_(std::move(directory)) {
  // nop
}

expected<void> documents::save(const std::string& path,
                               const std::string& text) {
  if (broken_)
    return tl::unexpected<failure>{*broken_};
  if (auto folder = folder_of(path); folder != directory_) {
    auto made = disk_.make_folder(folder).and_then(
      [&] { return final(disk_.sync_folder(directory_)); });
    if (!made)
      return made;
  }
  auto temporary = unfinished(full(path), ++count_);
  auto written = write(temporary, text).and_then([&] {
    return disk_.rename(temporary, full(path));
  });
  if (!written) {
    // The document is as it was; what is left over is only untidy.
    std::ignore = disk_.remove(temporary);
    return written;
  }
  // The new document is there, but may be the old one again after a loss of
  // power: nobody knows, so nothing more may be promised.
  return final(disk_.sync_folder(folder_of(path)));
}

expected<void> documents::write(const std::string& path,
                                const std::string& text) {
  std::ignore = disk_.remove(path);
  auto file = disk_.create(path);
  if (!file)
    return tl::unexpected<failure>{file.error()};
  return (*file)
    ->write(text)
    .and_then([&] { return final((*file)->sync()); })
    .and_then([&] { return (*file)->close(); });
}

expected<std::optional<std::string>> documents::read(const std::string& path) {
  auto text = disk_.read(full(path));
  if (!text || !*text)
    return text;
  // A copy of a damaged document is as it is.
  auto value = json::parse(**text, nullptr, false);
  if (value.is_object() || path.ends_with(".broken"))
    return text;
  keep_copy(path, **text);
  return damaged_document(full(path), "it is no JSON object");
}

expected<std::vector<std::string>> documents::list(const std::string& folder) {
  auto all = disk_.list(directory_);
  if (!all)
    return all;
  std::vector<std::string> out;
  if (std::find(all->begin(), all->end(), folder) == all->end())
    return out;
  auto names = disk_.list(full(folder));
  if (!names)
    return names;
  for (auto& name : *names)
    if (name.ends_with(".json"))
      out.push_back(folder + "/" + name);
  return out;
}

expected<void> documents::remove(const std::string& path) {
  if (broken_)
    return tl::unexpected<failure>{*broken_};
  return disk_.remove(full(path)).and_then([&] {
    return final(disk_.sync_folder(folder_of(path)));
  });
}

expected<void> documents::clean() {
  auto names = disk_.list(directory_);
  if (!names)
    return tl::unexpected<failure>{names.error()};
  std::vector<std::string> leftovers;
  for (auto& name : *names) {
    if (is_unfinished(name))
      leftovers.push_back(name);
    // Documents stand in the directory or in a folder of it, nowhere deeper.
    if (auto inner = disk_.list(full(name)))
      for (auto& x : *inner)
        if (is_unfinished(x))
          leftovers.push_back(name + "/" + x);
  }
  for (auto& path : leftovers)
    if (auto removed = disk_.remove(full(path)); !removed)
      return removed;
  return {};
}

std::string documents::full(const std::string& path) const {
  return directory_ + "/" + path;
}

std::string documents::folder_of(const std::string& path) const {
  auto slash = path.rfind('/');
  return slash == std::string::npos ? directory_ : full(path.substr(0, slash));
}

expected<void> documents::final(expected<void> result) {
  if (!result)
    broken_ = result.error();
  return result;
}

void documents::keep_copy(const std::string& path, const std::string& text) {
  auto copy = full(path) + ".broken";
  if (auto known = disk_.read(copy); known && *known)
    return;
  if (auto file = disk_.create(copy))
    std::ignore
      = (*file)->write(text).and_then([&] { return (*file)->sync(); });
}

} // namespace muster
