// SPDX-License-Identifier: Apache-2.0

#include "actors/remote/identity.hpp"

#include "actors/process/system_call.hpp"

#include <fmt/format.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <optional>
#include <tuple>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace muster {

namespace {

/// None of these files comes near it.
constexpr std::size_t max_file_bytes = 16u << 20;

tl::unexpected<failure> bad(const std::string& path, std::string_view why) {
  return fail(errc::bad_certificate, fmt::format("'{}' {}", path, why));
}

struct descriptor {
  int number;

  ~descriptor() {
    if (number >= 0)
      ::close(number);
  }
};

bool is_key(const std::string& name) {
  return name.ends_with(".key");
}

int no_passphrase(char*, int, int, void*) {
  return 0;
}

openssl_ptr<BIO> reader(const std::string& text) {
  return openssl_ptr<BIO>{
    BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))};
}

/// What is in the files of one side.
struct parsed_files {
  openssl_ptr<X509> authority;
  openssl_ptr<X509> certificate;
  openssl_ptr<EVP_PKEY> key;
  /// Only a node has it.
  openssl_ptr<X509_CRL> revoked;
};

/// Reads a file of a folder by one of the functions of OpenSSL.
template <class T, class F>
expected<openssl_ptr<T>> parse(const std::string& folder,
                               const std::string& name, F read,
                               std::string_view what) {
  auto text = read_tls_file(folder, name);
  if (!text)
    return tl::unexpected<failure>{text.error()};
  openssl_ptr<T> out{
    read(reader(*text).get(), nullptr, no_passphrase, nullptr)};
  OPENSSL_cleanse(text->data(), text->size());
  if (!out)
    return bad(folder + "/" + name,
               fmt::format("is no {}: {}", what, take_openssl_error()));
  return out;
}

/// Whether a certificate is good now, and whether a list of revoked ones is
/// the newest.
expected<void> check_time(const std::string& path, const ASN1_TIME* from,
                          const ASN1_TIME* to, std::int64_t now_ms) {
  auto now = static_cast<std::time_t>(now_ms / 1'000);
  if (X509_cmp_time(from, &now) >= 0)
    return bad(path, "is not valid yet; is the clock right?");
  if (X509_cmp_time(to, &now) <= 0)
    return bad(path, "has expired");
  return {};
}

expected<void> check_time(const std::string& path, const X509* certificate,
                          std::int64_t now_ms) {
  return check_time(path, X509_get0_notBefore(certificate),
                    X509_get0_notAfter(certificate), now_ms);
}

/// A store that trusts the authority alone, and knows what it has revoked.
openssl_ptr<X509_STORE> make_store(const parsed_files& files) {
  openssl_ptr<X509_STORE> store{X509_STORE_new()};
  if (!store || X509_STORE_add_cert(store.get(), files.authority.get()) != 1)
    return nullptr;
  if (files.revoked
      && (X509_STORE_add_crl(store.get(), files.revoked.get()) != 1
          || X509_STORE_set_flags(store.get(), X509_V_FLAG_CRL_CHECK) != 1))
    return nullptr;
  return store;
}

/// Checks a side's own certificate as the other side will.
expected<void> check_own(const std::string& path, const parsed_files& files,
                         X509_STORE* store, int purpose, std::int64_t now_ms) {
  openssl_ptr<X509_STORE_CTX> check{X509_STORE_CTX_new()};
  if (!check
      || X509_STORE_CTX_init(check.get(), store, files.certificate.get(),
                             nullptr)
           != 1
      || X509_STORE_CTX_set_purpose(check.get(), purpose) != 1)
    return fail(errc::internal, take_openssl_error());
  X509_STORE_CTX_set_time(check.get(), 0,
                          static_cast<std::time_t>(now_ms / 1'000));
  if (X509_verify_cert(check.get()) == 1)
    return {};
  auto reason = X509_STORE_CTX_get_error(check.get());
  std::ignore = take_openssl_error();
  if (reason == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY
      || reason == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE
      || reason == X509_V_ERR_CERT_SIGNATURE_FAILURE)
    return bad(path, fmt::format("is not from the authority in '{}'",
                                 tls_file::authority));
  return bad(path, fmt::format("is not usable: {}",
                               X509_verify_cert_error_string(reason)));
}

/// Puts together what both sides of a connection have in common.
expected<openssl_ptr<SSL_CTX>> make_context(const parsed_files& files,
                                            X509_STORE* store) {
  openssl_ptr<SSL_CTX> context{SSL_CTX_new(TLS_method())};
  auto* raw = context.get();
  if (!context || SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION) != 1
      || SSL_CTX_set_cipher_list(raw, "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL") != 1
      || SSL_CTX_use_certificate(raw, files.certificate.get()) != 1
      || SSL_CTX_use_PrivateKey(raw, files.key.get()) != 1)
    return fail(errc::internal,
                fmt::format("cannot set TLS up: {}", take_openssl_error()));
  SSL_CTX_set1_cert_store(raw, store);
  SSL_CTX_set_verify(raw, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                     nullptr);
  // A resumed session would skip the check of the certificate.
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(raw, 0);
  SSL_CTX_set_options(raw, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION
                             | SSL_OP_NO_COMPRESSION);
  // An idle connection keeps no buffers.
  SSL_CTX_set_mode(raw, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE
                          | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  return context;
}

/// Reads the files of one side and checks each of them.
expected<identity> load(const std::string& folder, const char* certificate,
                        const char* key, bool is_node, std::int64_t now_ms) {
  parsed_files files;
  auto path = [&](const char* name) { return folder + "/" + name; };
  auto result
    = parse<X509>(folder, tls_file::authority, PEM_read_bio_X509, "certificate")
        .and_then([&](auto x) {
          files.authority = std::move(x);
          return check_time(path(tls_file::authority), files.authority.get(),
                            now_ms);
        })
        .and_then([&]() -> expected<void> {
          if (X509_check_ca(files.authority.get()) != 1)
            return bad(path(tls_file::authority),
                       "is not the certificate of an authority");
          return {};
        })
        .and_then([&] {
          return parse<X509>(folder, certificate, PEM_read_bio_X509,
                             "certificate");
        })
        .and_then([&](auto x) {
          files.certificate = std::move(x);
          return check_time(path(certificate), files.certificate.get(), now_ms);
        })
        .and_then([&] {
          return parse<EVP_PKEY>(folder, key, PEM_read_bio_PrivateKey,
                                 "private key");
        })
        .and_then([&](auto x) -> expected<void> {
          files.key = std::move(x);
          if (X509_check_private_key(files.certificate.get(), files.key.get())
              == 1)
            return {};
          std::ignore = take_openssl_error();
          return bad(path(key),
                     fmt::format("is not the key of '{}'", certificate));
        });
  if (result && is_node)
    result = parse<X509_CRL>(folder, tls_file::revoked, PEM_read_bio_X509_CRL,
                             "list of revoked certificates")
               .and_then([&](auto x) {
                 files.revoked = std::move(x);
                 return check_time(
                   path(tls_file::revoked),
                   X509_CRL_get0_lastUpdate(files.revoked.get()),
                   X509_CRL_get0_nextUpdate(files.revoked.get()), now_ms);
               })
               .and_then([&]() -> expected<void> {
                 if (X509_CRL_verify(files.revoked.get(),
                                     X509_get0_pubkey(files.authority.get()))
                     == 1)
                   return {};
                 std::ignore = take_openssl_error();
                 return bad(path(tls_file::revoked),
                            fmt::format("is not from the authority in '{}'",
                                        tls_file::authority));
               });
  if (!result)
    return tl::unexpected<failure>{result.error()};
  auto store = make_store(files);
  if (!store)
    return fail(errc::internal, take_openssl_error());
  auto purpose = is_node ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT;
  if (auto fine
      = check_own(path(certificate), files, store.get(), purpose, now_ms);
      !fine)
    return tl::unexpected<failure>{fine.error()};
  auto context = make_context(files, store.get());
  if (!context)
    return tl::unexpected<failure>{context.error()};
  auto text = read_tls_file(folder, certificate);
  if (!text)
    return tl::unexpected<failure>{text.error()};
  return read_certificate(*text).map([&](certificate_facts facts) {
    return identity{std::move(*context), std::move(facts)};
  });
}

} // namespace

expected<std::string> read_tls_file(const std::string& folder,
                                    const std::string& name) {
  auto path = folder + "/" + name;
  descriptor file{uninterrupted(
    [&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); })};
  struct stat info {};
  if (file.number < 0 && errno == ENOENT)
    return bad(path, "is missing");
  if (file.number < 0 || ::fstat(file.number, &info) != 0)
    return bad(path, fmt::format("cannot be read: {}", std::strerror(errno)));
  if (!S_ISREG(info.st_mode))
    return bad(path, "is no file");
  if (is_key(name) && (info.st_mode & 077) != 0)
    return bad(path, "is open to others; it may have been copied. If not, "
                     "close it with 'chmod 600'");
  if ((info.st_mode & 022) != 0)
    return bad(path, "can be changed by others; close it with 'chmod 600'");
  std::string text(
    std::min(static_cast<std::size_t>(info.st_size), max_file_bytes), '\0');
  auto size = uninterrupted(
    [&] { return ::pread(file.number, text.data(), text.size(), 0); });
  if (size < 0)
    return bad(path, fmt::format("cannot be read: {}", std::strerror(errno)));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

expected<identity> load_node(const std::string& folder, std::int64_t now_ms) {
  return load(folder, tls_file::node, tls_file::node_key, true, now_ms);
}

expected<identity> load_client(const std::string& folder, std::int64_t now_ms) {
  return load(folder, tls_file::client, tls_file::client_key, false, now_ms);
}

} // namespace muster
