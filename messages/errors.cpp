// SPDX-License-Identifier: Apache-2.0

#include "messages/errors.hpp"

#include <algorithm>

namespace muster {

const std::vector<errc_description>& all_errors() {
  static const std::vector<errc_description> table{
    {errc::not_found, "not_found", 3,
     "no session, query or key of that name is kept"},
    {errc::ambiguous, "ambiguous", 2,
     "the words fit more than one thing; name one of them"},
    {errc::invalid_argument, "invalid_argument", 2,
     "an argument is missing, malformed or out of range"},
    {errc::invalid_spec, "invalid_spec", 2,
     "the description of the session to start is not usable"},
    {errc::too_large, "too_large", 2, "a text is longer than its limit allows"},
    {errc::not_utf8, "not_utf8", 2, "a text is not valid UTF-8"},
    {errc::busy, "busy", 6,
     "the session is running; it takes answers when it pauses"},
    {errc::finished, "finished", 6, "the session has ended"},
    {errc::already_answered, "already_answered", 6,
     "the query has its answer; the first one counts"},
    {errc::already_cancelled, "already_cancelled", 6,
     "the session was cancelled"},
    {errc::in_use, "in_use", 6,
     "another process holds what this one asked for"},
    {errc::overloaded, "overloaded", 6,
     "a queue is at its limit; try again later"},
    {errc::conflict, "conflict", 6,
     "something was changed by another between reading and writing it"},
    {errc::unreachable, "unreachable", 4, "no node answers"},
    {errc::connection_lost, "connection_lost", 4,
     "the connection to the node broke before it answered"},
    {errc::version_mismatch, "version_mismatch", 4,
     "the two sides speak different versions"},
    {errc::not_allowed, "not_allowed", 5, "the caller may not do this"},
    {errc::timeout, "timeout", 7, "the wait ended before the work did"},
    {errc::storage_full, "storage_full", 8, "the disk has no room left"},
    {errc::storage_failed, "storage_failed", 8,
     "the disk failed to keep what it was given"},
    {errc::read_only, "read_only", 8, "the state directory cannot be written"},
    {errc::registry_corrupted, "registry_corrupted", 8,
     "a file on disk cannot be read as what it should be"},
    {errc::newer_format, "newer_format", 8,
     "a file on disk was written by a newer version"},
    {errc::shutting_down, "shutting_down", 4, "the node is about to stop"},
    {errc::program_failed, "program_failed", 1,
     "a program that was asked to do something failed"},
    {errc::internal, "internal", 1, "a fault of the program itself"},
    {errc::bad_certificate, "bad_certificate", 5,
     "a certificate, a key or a list of revoked ones cannot be used"},
  };
  return table;
}

const errc_description& describe(errc code) {
  auto& table = all_errors();
  auto find = [&](errc wanted) {
    return std::find_if(table.begin(), table.end(),
                        [=](auto& row) { return row.code == wanted; });
  };
  auto i = find(code);
  return i != table.end() ? *i : *find(errc::internal);
}

std::string to_string(errc code) {
  return std::string{describe(code).name};
}

} // namespace muster
