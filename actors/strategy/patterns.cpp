// SPDX-License-Identifier: Apache-2.0

#include "actors/strategy/patterns.hpp"

#include "actors/strategy/pattern_items.hpp"

#include <algorithm>
#include <cstring>

namespace muster::lua {

namespace {

using namespace pattern_items;

template <class Predicate>
std::size_t length_of_run(const char* from, std::size_t most, Predicate goes) {
  std::size_t result = 0;
  while (result < most && goes(static_cast<byte>(from[result])))
    ++result;
  return result;
}

// -- work ---------------------------------------------------------------------

/// Characters that are compared at the cost of one step.
constexpr std::uint64_t compared_per_step = 4;

/// The same for what the C library goes through.
constexpr std::uint64_t bytes_per_step = 32;

/// What comparing a character with an item costs, in such comparisons.
std::uint64_t weight_of(const char* item, const char* end) {
  return *item == '[' ? static_cast<std::uint64_t>(end - item) : 1;
}

std::uint64_t length(const char* begin, const char* end) {
  return static_cast<std::uint64_t>(end - begin);
}

} // namespace

// -- constructors -------------------------------------------------------------

pattern_search::pattern_search(std::string_view subject,
                               std::string_view pattern, bool anchored)
  : subject_(subject.data()), subject_end_(subject.data() + subject.size()),
    pattern_(pattern.data()), pattern_end_(pattern.data() + pattern.size()),
    refused_(nullptr), start_(subject_), at_(subject_),
    item_(pattern_), repeated_{nullptr, nullptr},
    count_(0), first_{nullptr, nullptr}, fault_(nullptr), work_(0),
    most_work_(0), number_(-1), captures_(0), choices_(0), next_(step::attempt),
    anchored_(anchored), more_(nullptr) {
  if (!anchored)
    find_first();
}

// -- searching ----------------------------------------------------------------

void pattern_search::begin(const char* from, const char* refused) {
  start_ = from;
  refused_ = refused;
  next_ = from > subject_end_ ? step::nothing : step::attempt;
}

pattern_search::outcome pattern_search::go_on(std::uint64_t most_work) {
  most_work_ = most_work;
  // The first item was looked at once for each search.
  work_ = length(first_.begin, first_.end) / compared_per_step;
  for (;;) {
    // A step opens one at most.
    if (choices_ == few_choices && more_ == nullptr)
      return outcome::crowded;
    ++work_;
    switch (next_) {
      case step::attempt:
        next_ = attempt();
        break;
      case step::item:
        next_ = match_item();
        break;
      case step::repeat:
        next_ = repeat();
        break;
      case step::balance:
        next_ = balance();
        break;
      case step::retreat:
        next_ = retreat();
        break;
      case step::matched:
        next_ = matched();
        break;
      case step::found:
        return outcome::found;
      case step::nothing:
        return outcome::nothing;
      case step::malformed:
        return outcome::malformed;
    }
    if (work_ >= most_work && next_ < step::found)
      return outcome::unfinished;
  }
}

void pattern_search::give_room(void* memory) {
  std::memcpy(memory, open_choices(),
              static_cast<std::size_t>(choices_) * sizeof(choice));
  more_ = static_cast<choice*>(memory);
}

// -- steps --------------------------------------------------------------------

pattern_search::step pattern_search::attempt() {
  if (first_.begin != nullptr) {
    std::size_t reached = 0;
    auto skipped = count_fitting(start_, first_, false, reached);
    start_ += skipped;
    if (start_ == subject_end_)
      return step::nothing;
    if (skipped == reached)
      return step::attempt;
  }
  at_ = start_;
  item_ = pattern_;
  captures_ = 0;
  choices_ = 0;
  return step::item;
}

pattern_search::step pattern_search::next_attempt() {
  if (anchored_ || start_ == subject_end_)
    return step::nothing;
  ++start_;
  return step::attempt;
}

pattern_search::step pattern_search::match_item() {
  if (item_ == pattern_end_)
    return step::matched;
  switch (*item_) {
    case '(':
      return open_capture();
    case ')':
      return close_capture();
    case '$':
      if (item_ + 1 == pattern_end_)
        return at_ == subject_end_ ? step::matched : step::retreat;
      break;
    case '%':
      if (item_[1] == 'b')
        return begin_balance();
      if (item_[1] == 'f')
        return frontier();
      if (is_between(item_[1], '0', '9'))
        return back_reference();
      break;
    default:
      break;
  }
  return match_single();
}

pattern_search::step pattern_search::match_single() {
  single item{item_, end_of(item_)};
  if (item.end == nullptr)
    return step::malformed;
  if (*item_ == '[')
    work_ += weight_of(item.begin, item.end) / compared_per_step;
  bool fitting = at_ != subject_end_
                 && fits(static_cast<byte>(*at_), item.begin, item.end);
  auto how_often = item.end == pattern_end_ ? '\0' : *item.end;
  switch (how_often) {
    case '?':
      item_ = item.end + 1;
      if (!fitting)
        return step::item;
      if (!choose(choice::kind::without, item, 0))
        return step::malformed;
      ++at_;
      return step::item;
    case '-':
      item_ = item.end + 1;
      // What does not fit now will not fit later: there is no choice.
      if (fitting && !choose(choice::kind::more, item, 0))
        return step::malformed;
      return step::item;
    case '*':
    case '+':
      if (!fitting) {
        item_ = item.end + 1;
        return how_often == '*' ? step::item : step::retreat;
      }
      // A `+` keeps its first one.
      if (how_often == '+')
        ++at_;
      repeated_ = item;
      count_ = 0;
      return repeat();
    default:
      if (!fitting)
        return step::retreat;
      ++at_;
      item_ = item.end;
      return step::item;
  }
}

pattern_search::step pattern_search::repeat() {
  std::size_t reached = 0;
  auto more = count_fitting(at_ + count_, repeated_, true, reached);
  count_ += more;
  if (more == reached && at_ + count_ != subject_end_)
    return step::repeat;
  if (!choose(choice::kind::fewer, repeated_, count_))
    return step::malformed;
  at_ += count_;
  item_ = repeated_.end + 1;
  return step::item;
}

pattern_search::step pattern_search::open_capture() {
  if (captures_ == max_captures)
    return fail("too many captures");
  bool is_position = item_[1] == ')';
  captured_[captures_] = {at_, is_position ? position : unclosed};
  if (!choose(choice::kind::opened, {item_, item_}, 0))
    return step::malformed;
  ++captures_;
  item_ += is_position ? 2 : 1;
  return step::item;
}

pattern_search::step pattern_search::close_capture() {
  auto which = captures_ - 1;
  while (which >= 0 && captured_[which].size != unclosed)
    --which;
  if (which < 0)
    return fail("invalid pattern capture");
  if (!choose(choice::kind::closed, {item_, item_},
              static_cast<std::size_t>(which)))
    return step::malformed;
  captured_[which].size = at_ - captured_[which].begin;
  ++item_;
  return step::item;
}

pattern_search::step pattern_search::begin_balance() {
  if (pattern_end_ - item_ < 4)
    return fail("malformed pattern (missing arguments to '%b')");
  if (at_ == subject_end_ || *at_ != item_[2])
    return step::retreat;
  ++at_;
  count_ = 1;
  return balance();
}

pattern_search::step pattern_search::balance() {
  auto opening = item_[2];
  auto closing = item_[3];
  auto left = most_work_ > work_ ? most_work_ - work_ : 0;
  auto most = std::min(length(at_, subject_end_), left * compared_per_step + 1);
  auto* at = at_;
  auto open = count_;
  for (auto* end = at + most; at != end && open != 0; ++at) {
    // In this order: both may be the same.
    if (*at == closing)
      --open;
    else if (*at == opening)
      ++open;
  }
  work_ += length(at_, at) / compared_per_step;
  at_ = at;
  count_ = open;
  if (open == 0) {
    item_ += 4;
    return step::item;
  }
  return at_ == subject_end_ ? step::retreat : step::balance;
}

pattern_search::step pattern_search::frontier() {
  auto* set = item_ + 2;
  if (set == pattern_end_ || *set != '[')
    return fail("missing '[' after '%f' in pattern");
  auto* end = end_of(set);
  if (end == nullptr)
    return step::malformed;
  work_ += 2 * weight_of(set, end) / compared_per_step;
  // Beyond both ends of the subject there is a zero byte.
  auto before = at_ == subject_ ? '\0' : at_[-1];
  auto behind = at_ == subject_end_ ? '\0' : *at_;
  if (fits(static_cast<byte>(before), set, end)
      || !fits(static_cast<byte>(behind), set, end))
    return step::retreat;
  item_ = end;
  return step::item;
}

pattern_search::step pattern_search::back_reference() {
  auto which = item_[1] - '1';
  if (which < 0 || which >= captures_ || captured_[which].size == unclosed)
    return fail("invalid capture index %", which + 1);
  auto& text = captured_[which];
  // A position is longer than any text.
  if (text.size == position || subject_end_ - at_ < text.size)
    return step::retreat;
  auto size = static_cast<std::size_t>(text.size);
  work_ += size / bytes_per_step;
  if (std::memcmp(text.begin, at_, size) != 0)
    return step::retreat;
  at_ += text.size;
  item_ += 2;
  return step::item;
}

pattern_search::step pattern_search::retreat() {
  if (choices_ == 0)
    return next_attempt();
  auto& last = open_choices()[choices_ - 1];
  switch (last.what) {
    case choice::kind::fewer:
      if (last.count == 0)
        break;
      at_ = last.at + --last.count;
      item_ = last.item.end + 1;
      return step::item;
    case choice::kind::more:
      work_ += weight_of(last.item.begin, last.item.end) / compared_per_step;
      if (last.at == subject_end_
          || !fits(static_cast<byte>(*last.at), last.item.begin, last.item.end))
        break;
      at_ = ++last.at;
      item_ = last.item.end + 1;
      return step::item;
    case choice::kind::without:
      at_ = last.at;
      item_ = last.item.end + 1;
      --choices_;
      return step::item;
    case choice::kind::opened:
      --captures_;
      break;
    case choice::kind::closed:
      captured_[last.count].size = unclosed;
      break;
  }
  --choices_;
  return step::retreat;
}

pattern_search::step pattern_search::matched() {
  return at_ == refused_ ? next_attempt() : step::found;
}

// -- implementation details ---------------------------------------------------

bool pattern_search::choose(choice::kind what, const single& item,
                            std::size_t count) {
  if (choices_ == max_choices) {
    fail("pattern too complex");
    return false;
  }
  open_choices()[choices_++] = {what, at_, item, count};
  return true;
}

pattern_search::step pattern_search::fail(const char* fault, int number) {
  fault_ = fault;
  number_ = number;
  return step::malformed;
}

const char* pattern_search::end_of(const char* begin) {
  auto* end = begin + 1;
  if (*begin == '%') {
    if (end == pattern_end_) {
      fail("malformed pattern (ends with '%')");
      return nullptr;
    }
    return end + 1;
  }
  if (*begin != '[')
    return end;
  if (end != pattern_end_ && *end == '^')
    ++end;
  // A bracket in the first place stands for itself.
  for (bool is_first = true; end < pattern_end_; is_first = false) {
    if (*end == ']' && !is_first)
      return end + 1;
    end += *end == '%' ? 2 : 1;
  }
  fail("malformed pattern (missing ']')");
  return nullptr;
}

std::size_t pattern_search::count_fitting(const char* from, const single& item,
                                          bool wanted, std::size_t& reached) {
  auto rest = length(from, subject_end_);
  auto weight = weight_of(item.begin, item.end);
  auto left = most_work_ > work_ ? most_work_ - work_ : 0;
  reached = std::min(rest, left * compared_per_step / weight + 1);
  std::size_t result = 0;
  switch (*item.begin) {
    case '.':
      reached = rest;
      return wanted ? rest : 0;
    case '%': {
      auto letter = static_cast<byte>(item.begin[1]);
      result = length_of_run(
        from, reached, [=](byte c) { return fits_class(c, letter) == wanted; });
      break;
    }
    case '[':
      result = length_of_run(from, reached, [&](byte c) {
        return fits_set(c, item.begin + 1, item.end - 1) == wanted;
      });
      break;
    default:
      if (!wanted) {
        reached = rest + 1;
        auto* found = std::memchr(from, *item.begin, rest);
        result = found == nullptr
                   ? rest
                   : length(from, static_cast<const char*>(found));
        work_ += result / bytes_per_step;
        return result;
      }
      result = length_of_run(from, reached, [c = *item.begin](byte x) {
        return x == static_cast<byte>(c);
      });
  }
  work_ += result * weight / compared_per_step;
  return result;
}

void pattern_search::find_first() {
  // Captures may begin in front of it, if these are not too many.
  auto* begin = pattern_;
  for (int i = 0; i < 8 && *begin == '(' && begin[1] != ')'; ++i)
    ++begin;
  if (begin == pattern_end_ || *begin == '(' || *begin == ')' || *begin == '$')
    return;
  if (*begin == '%'
      && (begin[1] == 'b' || begin[1] == 'f' || is_between(begin[1], '0', '9')))
    return;
  auto* end = end_of(begin);
  // A pattern that is malformed may still never come to that.
  if (end == nullptr)
    return;
  if (end != pattern_end_ && (*end == '?' || *end == '*' || *end == '-'))
    return;
  first_ = {begin, end};
}

} // namespace muster::lua
