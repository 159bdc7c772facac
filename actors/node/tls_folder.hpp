// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/node/settings.hpp"
#include "actors/persistence/disk.hpp"
#include "actors/persistence/documents.hpp"
#include "actors/process/environment.hpp"
#include "actors/remote/certificates.hpp"

#include "messages/errors.hpp"
#include "messages/json.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace muster {

/// A certificate that the authority of a node has made.
struct issued_certificate {
  certificate_facts facts;
  certificate_use use = certificate_use::client;
  std::optional<std::int64_t> revoked_at_ms;
};

/// The folder `tls` of a state directory: an authority, the certificates of the
/// node and of the clients on this machine, and what was issued and revoked.
/// While an object lives, no other process changes the folder.
class tls_folder {
public:
  // -- constants --------------------------------------------------------------

  static constexpr const char* name = "tls";

  /// Whom the certificates of this machine name. Nobody else gets these names.
  static constexpr const char* node_name = "node";

  static constexpr const char* local_name = "local";

  // -- constructors and destructors -------------------------------------------

  /// Waits until no other process changes the folder.
  /// @param state_directory must exist.
  /// @returns `in_use` if that takes too long.
  [[nodiscard]] static expected<std::unique_ptr<tls_folder>>
  open(const std::string& state_directory, tls_settings settings,
       environment env);

  ~tls_folder();

  tls_folder(const tls_folder&) = delete;

  tls_folder& operator=(const tls_folder&) = delete;

  // -- making -----------------------------------------------------------------

  /// Makes everything, if there is no folder yet; else renews those
  /// certificates of this machine of which less than a third of their time is
  /// left, and repeats a revocation that a crash cut short.
  /// @returns whether it made the folder; `bad_certificate`, naming the file,
  ///          if something is wrong with one.
  [[nodiscard]] expected<bool> prepare();

  /// Makes everything anew. No certificate of before is good any more.
  [[nodiscard]] expected<void> replace();

  /// Makes a certificate and puts it, with its key and the authority's
  /// certificate, into a new folder.
  /// @returns `invalid_argument` if the name is none, or the folder is there.
  [[nodiscard]] expected<certificate_facts> issue(const std::string& whom,
                                                  const std::string& folder);

  /// Revokes all certificates of that name.
  /// @returns how many were not revoked before; `not_found` if there is none.
  [[nodiscard]] expected<std::size_t> revoke(const std::string& whom);

  // -- properties -------------------------------------------------------------

  [[nodiscard]] bool exists() const;

  /// Where it is.
  [[nodiscard]] std::string path() const;

  [[nodiscard]] expected<certificate_facts> authority() const;

  /// What was issued and has not expired, the oldest first.
  [[nodiscard]] expected<std::vector<issued_certificate>> issued();

  /// When a certificate of this machine is renewed by the next start.
  [[nodiscard]] static std::int64_t renewal_ms(const validity& valid);

private:
  // -- constructors -----------------------------------------------------------

  tls_folder(std::string directory, tls_settings settings, environment env,
             int lock);

  // -- implementation details -------------------------------------------------

  /// `not_found` if there is no folder.
  [[nodiscard]] expected<void> check_exists() const;

  [[nodiscard]] expected<credential> read_authority() const;

  [[nodiscard]] validity valid_for(std::chrono::milliseconds time) const;

  /// The time of a certificate, which ends with its authority.
  [[nodiscard]] validity
  leaf_validity(const certificate_facts& authority) const;

  [[nodiscard]] expected<void> make_all();

  [[nodiscard]] expected<void> save(const std::string& file,
                                    const std::string& text);

  [[nodiscard]] expected<void>
  save_issued(const std::vector<issued_certificate>& all);

  /// Makes the list of revoked certificates, if it is not what it should be.
  [[nodiscard]] expected<void>
  save_revoked(const std::vector<issued_certificate>& all);

  /// Renews a certificate if it is time to.
  [[nodiscard]] expected<void>
  refresh(const std::string& whom, certificate_use use,
          const std::string& certificate_file, const std::string& key_file);

  // -- member variables -------------------------------------------------------

  std::string directory_;
  tls_settings settings_;
  environment env_;
  int lock_;
  std::unique_ptr<disk> disk_;
  documents documents_;
  /// Where to write: the folder, or what is to become it.
  std::string target_ = name;
};

} // namespace muster
