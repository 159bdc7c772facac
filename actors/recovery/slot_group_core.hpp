// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/recovery/settings.hpp"
#include "actors/recovery/slot_group_document.hpp"
#include "actors/recovery/slot_group_effects.hpp"

#include <optional>

namespace muster {

/// Keeps N slots occupied. It is told what happened, and says what to do about
/// it, in order; it does nothing itself.
///
/// Each occupant has a term that no other one of the group ever has, and what
/// is heard of any but the present one changes nothing. The intent to start is
/// on disk before the start, and no slot gets an occupant before the end of the
/// last one is confirmed or its place has failed: whatever dies in between,
/// nothing is forgotten and nothing doubled.
class slot_group_core {
public:
  // -- constructors -----------------------------------------------------------

  /// @param seed decides by how much the delays of the slots differ.
  slot_group_core(const slot_group_settings& settings, std::uint64_t seed);

  // -- coming to be; one of both, once ----------------------------------------

  /// A new group. It is answered once it is on disk.
  /// @param document has the ids and the definition; the rest is empty.
  [[nodiscard]] slot_group::effects create(slot_group::ticket from,
                                           slot_group_document document,
                                           std::int64_t now_ns);

  /// What another life of the node has left: everything is looked for.
  [[nodiscard]] slot_group::effects restore(slot_group_document document,
                                            std::int64_t now_ns);

  // -- requests; they are answered once their effect is on disk ---------------

  /// Wants more or fewer slots. The highest go first.
  [[nodiscard]] slot_group::effects
  scale(slot_group::ticket from, std::uint8_t slots, std::int64_t now_ns);

  /// Forgets all failures: what has to wait does not any longer.
  [[nodiscard]] slot_group::effects reset(slot_group::ticket from,
                                          std::int64_t now_ns);

  /// Stops everything, then removes the document, then answers.
  [[nodiscard]] slot_group::effects remove(slot_group::ticket from,
                                           std::int64_t now_ns);

  /// The share of a tick.
  /// @param budget slots that may be worked on, if the settings allow as many.
  [[nodiscard]] slot_group::effects tick(std::uint64_t budget,
                                         std::int64_t now_ns);

  // -- what the disk did ------------------------------------------------------

  [[nodiscard]] slot_group::effects saved(const expected<void>& result,
                                          std::int64_t now_ns);

  [[nodiscard]] slot_group::effects removed(const expected<void>& result);

  // -- what occupants did -----------------------------------------------------

  /// It is ready, or was found again. One that nobody wants is stopped.
  [[nodiscard]] slot_group::effects
  started(std::uint8_t index, std::uint64_t term, const std::string& occupant,
          const std::string& place, std::int64_t now_ns);

  /// There is none, nor will there be.
  /// @param place is excluded from now on, unless empty.
  [[nodiscard]] slot_group::effects
  start_failed(std::uint8_t index, std::uint64_t term, const failure& why,
               const std::string& place, std::int64_t now_ns);

  /// It was looked for, and does not live.
  [[nodiscard]] slot_group::effects
  absent(std::uint8_t index, std::uint64_t term, std::int64_t now_ns);

  [[nodiscard]] slot_group::effects
  occupant_ended(std::uint8_t index, std::uint64_t term, const failure& why,
                 std::int64_t now_ns);

  /// It has ended as it should, and its slot is free for the next one at once.
  [[nodiscard]] slot_group::effects occupant_released(std::uint8_t index,
                                                      std::uint64_t term,
                                                      std::int64_t now_ns);

  [[nodiscard]] slot_group::effects
  occupant_unhealthy(std::uint8_t index, std::uint64_t term, const failure& why,
                     std::int64_t now_ns);

  [[nodiscard]] slot_group::effects occupant_healthy(std::uint8_t index,
                                                     std::uint64_t term);

  /// No occupant of that term lives.
  [[nodiscard]] slot_group::effects
  stopped(std::uint8_t index, std::uint64_t term, std::int64_t now_ns);

  /// What was asked for did not happen, and is asked for again: says why not.
  void note_trouble(std::uint8_t index, std::uint64_t term, const failure& why);

  // -- what places did --------------------------------------------------------

  /// All that is there counts as ended, and nothing is started there.
  [[nodiscard]] slot_group::effects place_failed(const std::string& place,
                                                 std::int64_t now_ns);

  /// It was seen healthy. An occupant there that was not replaced has its slot
  /// back, and one that was is stopped.
  [[nodiscard]] slot_group::effects place_healthy(const std::string& place,
                                                  std::int64_t now_ns);

  // -- properties -------------------------------------------------------------

  /// The slots that have become healthy behind a failure since this was last
  /// called.
  [[nodiscard]] std::vector<std::uint8_t> take_recovered();

  [[nodiscard]] const slot_group_definition& definition() const {
    return document_.definition;
  }

  /// See `slot_group_document::id`.
  [[nodiscard]] const std::string& id() const {
    return document_.id;
  }

  [[nodiscard]] const std::string& request_id() const {
    return document_.request_id;
  }

  [[nodiscard]] bool is_deleted() const {
    return document_.is_deleted;
  }

  /// When the first delay is over that a slot waits for; absent if none is.
  [[nodiscard]] std::optional<std::int64_t>
  next_start_ns(std::int64_t now_ns) const;

  /// All slots, also those that are on their way out. Processes and sessions
  /// are not known here.
  [[nodiscard]] std::vector<slot_view> slots(std::int64_t now_ns) const;

  [[nodiscard]] std::size_t healthy() const;

  /// Whether it has gone, and its document too.
  [[nodiscard]] bool is_gone() const {
    return is_gone_;
  }

private:
  // -- member types -----------------------------------------------------------

  /// What is waited for.
  enum class stage {
    nothing,
    /// The intent to start is not on disk.
    intending,
    starting,
    searching,
    stopping,
  };

  struct slot {
    slot_record record;
    backoff guard;
    stage at = stage::nothing;
    /// When that, or an unhealthy occupant, has had its time.
    std::int64_t limit_ns = 0;
    /// Whether an occupant has failed since the slot was last healthy.
    bool was_lost = false;
  };

  // -- implementation details -------------------------------------------------

  [[nodiscard]] slot make_slot(slot_record record);

  /// The slot, if that is its present term.
  [[nodiscard]] slot* find(std::uint8_t index, std::uint64_t term);

  /// What somebody wants of the group as a whole, and may be refused if it
  /// cannot be written.
  struct wish {
    std::uint8_t slots = 0;
    bool is_deleted = false;

    [[nodiscard]] bool wants(const slot& x) const {
      return x.record.index < slots && !is_deleted;
    }
  };

  /// What is wanted as it stands on disk, which is what everybody is shown.
  [[nodiscard]] wish on_disk() const {
    return {document_.definition.slots, document_.is_deleted};
  }

  [[nodiscard]] bool is_wanted(const slot& x) const {
    return wished_.wants(x);
  }

  /// Whether nobody wants it, and that is on disk: now it may go.
  [[nodiscard]] bool is_superfluous(const slot& x) const {
    return !is_wanted(x) && !on_disk().wants(x);
  }

  /// What was wanted and could not be written is not wanted any more.
  void take_back(const failure& why, std::int64_t now_ns);

  /// Nothing has to wait any longer, and nothing is known to have failed.
  static void forget_failures(slot& x, std::int64_t now_ns);

  void begin_start(slot& x);

  void begin_search(slot& x, std::int64_t now_ns);

  void begin_stop(slot& x, std::int64_t now_ns);

  /// Stops all that is superfluous, the highest first.
  void stop_unwanted(std::int64_t now_ns);

  void note_failure(slot& x, const failure& why, std::int64_t now_ns);

  /// Nobody is in the slot any more.
  void vacate(slot& x, std::int64_t now_ns);

  /// Tries to make a slot better.
  /// @returns whether there was anything to do.
  bool work_on(slot& x, std::int64_t now_ns);

  void repeat_overdue(slot& x, std::int64_t now_ns);

  /// Takes out the slots at the end that nobody wants and nobody occupies.
  void trim();

  /// Adds the slots that are wanted and missing.
  void fill();

  void change() {
    is_dirty_ = true;
  }

  void answer_when_saved(slot_group::ticket to);

  [[nodiscard]] bool refuse_if_deleted(slot_group::ticket from);

  void write_if_due(std::int64_t now_ns);

  [[nodiscard]] slot_group::effects take_effects(std::int64_t now_ns);

  // -- member variables -------------------------------------------------------

  slot_group_settings settings_;
  std::uint64_t seed_;
  /// All but the slots, which are below.
  slot_group_document document_;
  std::vector<slot> slots_;
  /// Where the next tick begins.
  std::size_t cursor_ = 0;
  std::set<std::uint8_t> recovered_;

  // The disk.
  bool is_dirty_ = false;
  bool is_writing_ = false;
  bool is_removing_ = false;
  bool is_gone_ = false;
  /// The highest term whose intent is in the write that is out.
  std::uint64_t written_term_ = 0;
  /// What is wanted now, and what of that is in the write that is out.
  wish wished_;
  wish written_;
  /// Whether failures shall be forgotten once that is on disk, and whether they
  /// are in the write that is out.
  bool is_reset_due_ = false;
  bool is_reset_written_ = false;
  /// Those who wait for the write that is out, and for the next one.
  std::vector<slot_group::ticket> out_;
  std::vector<slot_group::ticket> next_;
  /// Those who wait for the end of the group.
  std::vector<slot_group::ticket> removers_;

  slot_group::effects effects_;
};

} // namespace muster
