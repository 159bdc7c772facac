// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// Certificates as texts (PEM) in, texts out: no file, no clock. Keys are on the
// curve P-256. Times are milliseconds since the epoch, and kept to a second.

namespace muster {

// -- types --------------------------------------------------------------------

/// A certificate and its private key, each as PEM.
struct credential {
  std::string certificate;
  std::string key;
};

/// What a certificate is good for. That of a client does not let its owner pass
/// for a node.
enum class certificate_use : std::uint8_t { node, client };

/// From when to when something is good.
struct validity {
  std::int64_t from_ms = 0;
  std::int64_t to_ms = 0;

  friend bool operator==(const validity&, const validity&) = default;
};

/// What a certificate says.
struct certificate_facts {
  /// Whom it names.
  std::string name;
  /// Its number, in hexadecimal digits; no other of its authority has it.
  std::string serial;
  validity valid;
};

/// A certificate that is no good any more.
struct revocation {
  std::string serial;
  std::int64_t at_ms = 0;
};

// -- making -------------------------------------------------------------------

/// Makes an authority: a key and a certificate that vouches for itself.
[[nodiscard]] expected<credential> make_authority(validity valid);

/// Makes a key and a certificate for it.
/// @param name whom it names.
[[nodiscard]] expected<credential> issue(const credential& authority,
                                         const std::string& name,
                                         certificate_use use, validity valid);

/// Makes a new certificate for a key that has one.
/// @param key the private key as PEM.
/// @returns the certificate as PEM.
[[nodiscard]] expected<std::string>
renew(const credential& authority, const std::string& key,
      const std::string& name, certificate_use use, validity valid);

/// Makes the list of what the authority has revoked.
[[nodiscard]] expected<std::string>
make_revocation_list(const credential& authority,
                     const std::vector<revocation>& revoked, validity valid);

// -- reading ------------------------------------------------------------------

/// Reads a certificate.
[[nodiscard]] expected<certificate_facts>
read_certificate(const std::string& pem);

/// The numbers in a list of revoked certificates.
[[nodiscard]] expected<std::vector<std::string>>
read_revocation_list(const std::string& pem);

/// Whether a name can stand in a certificate, on a command line and in a path:
/// 1 to 64 letters, digits, '.', '_' or '-', the first no '.' and no '-'.
[[nodiscard]] bool is_certificate_name(std::string_view name);

} // namespace muster
