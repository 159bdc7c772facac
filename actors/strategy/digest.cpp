// SPDX-License-Identifier: Apache-2.0

#include "actors/strategy/digest.hpp"

#include "messages/hash.hpp"

#include <openssl/evp.h>

#include <array>
#include <cstdint>
#include <new>

namespace muster {

namespace {

/// Looking the algorithm up takes longer than hashing a short text.
const EVP_MD* algorithm() {
  static const EVP_MD* result = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return result;
}

void restart(EVP_MD_CTX* context) {
  // Fails only if the library has no SHA-256 at all.
  if (EVP_DigestInit_ex2(context, algorithm(), nullptr) != 1)
    throw std::bad_alloc{};
}

} // namespace

void running_digest::free_context::operator()(evp_md_ctx_st* context) const {
  EVP_MD_CTX_free(context);
}

running_digest::running_digest() : context_(EVP_MD_CTX_new()) {
  if (!context_)
    throw std::bad_alloc{};
  restart(context_.get());
}

void running_digest::add(std::string_view what, std::string_view text) {
  std::array<std::uint64_t, 2> lengths{what.size(), text.size()};
  EVP_DigestUpdate(context_.get(), lengths.data(), sizeof(lengths));
  EVP_DigestUpdate(context_.get(), what.data(), what.size());
  EVP_DigestUpdate(context_.get(), text.data(), text.size());
}

std::string running_digest::link() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned size = 0;
  EVP_DigestFinal_ex(context_.get(), bytes.data(), &size);
  restart(context_.get());
  EVP_DigestUpdate(context_.get(), bytes.data(), size);
  return to_hex({reinterpret_cast<char*>(bytes.data()), size});
}

} // namespace muster
