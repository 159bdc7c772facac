// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

namespace muster {

/// Frees what OpenSSL has allocated.
struct openssl_free {
  void operator()(BIO* x) const {
    BIO_free_all(x);
  }

  void operator()(EVP_PKEY* x) const {
    EVP_PKEY_free(x);
  }

  void operator()(X509* x) const {
    X509_free(x);
  }

  void operator()(X509_CRL* x) const {
    X509_CRL_free(x);
  }

  void operator()(X509_STORE* x) const {
    X509_STORE_free(x);
  }

  void operator()(X509_STORE_CTX* x) const {
    X509_STORE_CTX_free(x);
  }

  void operator()(SSL_CTX* x) const {
    SSL_CTX_free(x);
  }

  void operator()(SSL* x) const {
    SSL_free(x);
  }
};

/// Owns an object of OpenSSL.
template <class T>
using openssl_ptr = std::unique_ptr<T, openssl_free>;

/// What OpenSSL noted last about a failed call of this thread, in its words;
/// empty if nothing. Forgets all of its notes: they would be taken for those of
/// the next call.
[[nodiscard]] std::string take_openssl_error();

} // namespace muster
