// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/remote/certificates.hpp"
#include "actors/remote/openssl.hpp"

#include "messages/errors.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace muster {

// -- files --------------------------------------------------------------------

/// The names of the files in a folder of certificates. A client's folder holds
/// the authority's certificate, the client's and its key; a node's holds all.
namespace tls_file {

inline constexpr const char* authority = "ca.pem";
inline constexpr const char* authority_key = "ca.key";
inline constexpr const char* node = "node.pem";
inline constexpr const char* node_key = "node.key";
inline constexpr const char* client = "client.pem";
inline constexpr const char* client_key = "client.key";
inline constexpr const char* revoked = "crl.pem";

} // namespace tls_file

/// Reads a file of a folder of certificates. Nobody else may be able to write
/// it, nor to read it if it is a key.
/// @returns `bad_certificate`, naming the file.
[[nodiscard]] expected<std::string> read_tls_file(const std::string& folder,
                                                  const std::string& name);

// -- sides of a connection ----------------------------------------------------

/// All that one side needs to show who it is and to check who the other one is.
/// Every file has been read and fits the others.
struct identity {
  openssl_ptr<SSL_CTX> context;
  certificate_facts certificate;
};

/// Reads the files of a node. It takes only those whose certificate its own
/// authority has made and not revoked.
/// @returns `bad_certificate`, naming the file.
[[nodiscard]] expected<identity> load_node(const std::string& folder,
                                           std::int64_t now_ms);

/// Reads the files of a client. It takes only a node with a certificate of the
/// same authority.
/// @returns `bad_certificate`, naming the file.
[[nodiscard]] expected<identity> load_client(const std::string& folder,
                                             std::int64_t now_ms);

} // namespace muster
