// SPDX-License-Identifier: Apache-2.0

#include "actors/remote/certificates.hpp"

#include "actors/remote/openssl.hpp"

#include <fmt/format.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <ctime>

namespace muster {

namespace {

// -- errors -------------------------------------------------------------------

tl::unexpected<failure> failed(std::string_view what) {
  return fail(errc::internal,
              fmt::format("cannot {}: {}", what, take_openssl_error()));
}

tl::unexpected<failure> unreadable(std::string_view what) {
  return fail(errc::bad_certificate,
              fmt::format("it is no {}: {}", what, take_openssl_error()));
}

// -- texts --------------------------------------------------------------------

openssl_ptr<BIO> reader(const std::string& text) {
  return openssl_ptr<BIO>{
    BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))};
}

/// What `write` puts into a buffer.
template <class F>
expected<std::string> to_text(F write) {
  openssl_ptr<BIO> out{BIO_new(BIO_s_mem())};
  if (!out || write(out.get()) != 1)
    return failed("write PEM");
  char* data = nullptr;
  auto size = BIO_get_mem_data(out.get(), &data);
  return std::string{data, static_cast<std::size_t>(size)};
}

expected<std::string> to_pem(X509* certificate) {
  return to_text(
    [=](BIO* out) { return PEM_write_bio_X509(out, certificate); });
}

expected<std::string> to_pem(EVP_PKEY* key) {
  return to_text([=](BIO* out) {
    return PEM_write_bio_PrivateKey(out, key, nullptr, nullptr, 0, nullptr,
                                    nullptr);
  });
}

expected<std::string> to_pem(X509_CRL* list) {
  return to_text([=](BIO* out) { return PEM_write_bio_X509_CRL(out, list); });
}

/// No key has a passphrase; without this, OpenSSL would ask on the terminal.
int no_passphrase(char*, int, int, void*) {
  return 0;
}

openssl_ptr<X509> parse_certificate(const std::string& pem) {
  return openssl_ptr<X509>{
    PEM_read_bio_X509(reader(pem).get(), nullptr, no_passphrase, nullptr)};
}

openssl_ptr<EVP_PKEY> parse_key(const std::string& pem) {
  return openssl_ptr<EVP_PKEY>{PEM_read_bio_PrivateKey(
    reader(pem).get(), nullptr, no_passphrase, nullptr)};
}

// -- numbers and times --------------------------------------------------------

struct bignum_free {
  void operator()(BIGNUM* x) const {
    BN_free(x);
  }
};

using bignum = std::unique_ptr<BIGNUM, bignum_free>;

/// A number that nobody can guess, so that no two are the same.
bool set_serial(X509* certificate) {
  std::array<unsigned char, 16> bytes{};
  if (RAND_bytes(bytes.data(), bytes.size()) != 1)
    return false;
  // Positive, and always of the same length.
  bytes[0] = (bytes[0] & 0x7F) | 0x40;
  bignum number{BN_bin2bn(bytes.data(), bytes.size(), nullptr)};
  return number
         && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate))
              != nullptr;
}

std::string hex_of(const ASN1_INTEGER* serial) {
  bignum number{ASN1_INTEGER_to_BN(serial, nullptr)};
  std::unique_ptr<char, void (*)(char*)> text{number ? BN_bn2hex(number.get())
                                                     : nullptr,
                                              [](char* x) { OPENSSL_free(x); }};
  std::string out = text ? text.get() : "";
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return out;
}

std::time_t seconds(std::int64_t ms) {
  return static_cast<std::time_t>(ms / 1'000);
}

std::int64_t milliseconds(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1)
    return 0;
  return static_cast<std::int64_t>(::timegm(&parts)) * 1'000;
}

// -- making -------------------------------------------------------------------

bool add_extension(X509* certificate, X509* issuer, int nid,
                   const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  std::unique_ptr<X509_EXTENSION, void (*)(X509_EXTENSION*)> extension{
    X509V3_EXT_conf_nid(nullptr, &context, nid, value), X509_EXTENSION_free};
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool set_name(X509_NAME* to, const std::string& name) {
  return X509_NAME_add_entry_by_NID(
           to, NID_commonName, MBSTRING_UTF8,
           reinterpret_cast<const unsigned char*>(name.data()),
           static_cast<int>(name.size()), -1, 0)
         == 1;
}

/// A certificate that nobody has signed yet, nor said who issues it.
openssl_ptr<X509> draft(EVP_PKEY* key, const std::string& name,
                        validity valid) {
  openssl_ptr<X509> out{X509_new()};
  if (!out || X509_set_version(out.get(), X509_VERSION_3) != 1
      || !set_serial(out.get())
      || ASN1_TIME_set(X509_getm_notBefore(out.get()), seconds(valid.from_ms))
           == nullptr
      || ASN1_TIME_set(X509_getm_notAfter(out.get()), seconds(valid.to_ms))
           == nullptr
      || X509_set_pubkey(out.get(), key) != 1
      || !set_name(X509_get_subject_name(out.get()), name))
    return nullptr;
  return out;
}

struct signer {
  openssl_ptr<X509> certificate;
  openssl_ptr<EVP_PKEY> key;
};

expected<signer> read_signer(const credential& authority) {
  signer out{parse_certificate(authority.certificate),
             parse_key(authority.key)};
  if (!out.certificate || !out.key)
    return unreadable("certificate authority");
  return out;
}

expected<std::string> issue_for(EVP_PKEY* key, const signer& authority,
                                const std::string& name, certificate_use use,
                                validity valid) {
  auto certificate = draft(key, name, valid);
  auto* issuer = authority.certificate.get();
  auto add = [&](int nid, const char* value) {
    return add_extension(certificate.get(), issuer, nid, value);
  };
  auto* uses
    = use == certificate_use::node ? "serverAuth,clientAuth" : "clientAuth";
  if (!certificate
      || X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer))
           != 1
      || !add(NID_basic_constraints, "critical,CA:FALSE")
      || !add(NID_key_usage, "critical,digitalSignature")
      || !add(NID_ext_key_usage, uses)
      || !add(NID_subject_key_identifier, "hash")
      || !add(NID_authority_key_identifier, "keyid:always")
      || X509_sign(certificate.get(), authority.key.get(), EVP_sha256()) == 0)
    return failed("make a certificate");
  return to_pem(certificate.get());
}

bool add_entry(X509_CRL* list, const revocation& x) {
  BIGNUM* raw = nullptr;
  if (BN_hex2bn(&raw, x.serial.c_str()) == 0)
    return false;
  bignum number{raw};
  std::unique_ptr<ASN1_INTEGER, void (*)(ASN1_INTEGER*)> serial{
    BN_to_ASN1_INTEGER(number.get(), nullptr), ASN1_INTEGER_free};
  std::unique_ptr<ASN1_TIME, void (*)(ASN1_TIME*)> time{
    ASN1_TIME_set(nullptr, seconds(x.at_ms)), ASN1_TIME_free};
  std::unique_ptr<X509_REVOKED, void (*)(X509_REVOKED*)> entry{
    X509_REVOKED_new(), X509_REVOKED_free};
  if (!serial || !time || !entry
      || X509_REVOKED_set_serialNumber(entry.get(), serial.get()) != 1
      || X509_REVOKED_set_revocationDate(entry.get(), time.get()) != 1
      || X509_CRL_add0_revoked(list, entry.get()) != 1)
    return false;
  // It belongs to the list now.
  std::ignore = entry.release();
  return true;
}

} // namespace

expected<credential> make_authority(validity valid) {
  openssl_ptr<EVP_PKEY> key{EVP_EC_gen("P-256")};
  if (!key)
    return failed("make a key");
  auto certificate = draft(key.get(), "muster", valid);
  auto add = [&](int nid, const char* value) {
    return add_extension(certificate.get(), certificate.get(), nid, value);
  };
  // Authorities of other nodes must have other names, or one would look for the
  // key of the other.
  auto number = certificate ? hex_of(X509_get0_serialNumber(certificate.get()))
                            : std::string{};
  if (!certificate
      || !set_name(X509_get_subject_name(certificate.get()), number)
      || X509_set_issuer_name(certificate.get(),
                              X509_get_subject_name(certificate.get()))
           != 1
      || !add(NID_basic_constraints, "critical,CA:TRUE,pathlen:0")
      || !add(NID_key_usage, "critical,keyCertSign,cRLSign")
      || !add(NID_subject_key_identifier, "hash")
      || X509_sign(certificate.get(), key.get(), EVP_sha256()) == 0)
    return failed("make a certificate authority");
  auto text = to_pem(certificate.get());
  auto key_text = to_pem(key.get());
  if (!text || !key_text)
    return failed("make a certificate authority");
  return credential{std::move(*text), std::move(*key_text)};
}

expected<credential> issue(const credential& authority, const std::string& name,
                           certificate_use use, validity valid) {
  auto signer = read_signer(authority);
  if (!signer)
    return tl::unexpected<failure>{signer.error()};
  openssl_ptr<EVP_PKEY> key{EVP_EC_gen("P-256")};
  if (!key)
    return failed("make a key");
  auto key_text = to_pem(key.get());
  if (!key_text)
    return tl::unexpected<failure>{key_text.error()};
  return issue_for(key.get(), *signer, name, use, valid)
    .map([&](std::string certificate) {
      return credential{std::move(certificate), std::move(*key_text)};
    });
}

expected<std::string> renew(const credential& authority, const std::string& key,
                            const std::string& name, certificate_use use,
                            validity valid) {
  auto signer = read_signer(authority);
  if (!signer)
    return tl::unexpected<failure>{signer.error()};
  auto parsed = parse_key(key);
  if (!parsed)
    return unreadable("private key");
  return issue_for(parsed.get(), *signer, name, use, valid);
}

expected<std::string>
make_revocation_list(const credential& authority,
                     const std::vector<revocation>& revoked, validity valid) {
  auto signer = read_signer(authority);
  if (!signer)
    return tl::unexpected<failure>{signer.error()};
  openssl_ptr<X509_CRL> list{X509_CRL_new()};
  std::unique_ptr<ASN1_TIME, void (*)(ASN1_TIME*)> from{
    ASN1_TIME_set(nullptr, seconds(valid.from_ms)), ASN1_TIME_free};
  std::unique_ptr<ASN1_TIME, void (*)(ASN1_TIME*)> to{
    ASN1_TIME_set(nullptr, seconds(valid.to_ms)), ASN1_TIME_free};
  auto* issuer = X509_get_subject_name(signer->certificate.get());
  if (!list || !from || !to
      || X509_CRL_set_version(list.get(), X509_CRL_VERSION_2) != 1
      || X509_CRL_set_issuer_name(list.get(), issuer) != 1
      || X509_CRL_set1_lastUpdate(list.get(), from.get()) != 1
      || X509_CRL_set1_nextUpdate(list.get(), to.get()) != 1)
    return failed("make a list of revoked certificates");
  for (auto& x : revoked)
    if (!add_entry(list.get(), x))
      return failed("make a list of revoked certificates");
  if (X509_CRL_sort(list.get()) != 1
      || X509_CRL_sign(list.get(), signer->key.get(), EVP_sha256()) == 0)
    return failed("make a list of revoked certificates");
  return to_pem(list.get());
}

// -- reading ------------------------------------------------------------------

expected<certificate_facts> read_certificate(const std::string& pem) {
  auto certificate = parse_certificate(pem);
  if (!certificate)
    return unreadable("certificate");
  std::array<char, 128> name{};
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate.get()),
                            NID_commonName, name.data(), name.size());
  return certificate_facts{
    name.data(),
    hex_of(X509_get0_serialNumber(certificate.get())),
    {milliseconds(X509_get0_notBefore(certificate.get())),
     milliseconds(X509_get0_notAfter(certificate.get()))}};
}

expected<std::vector<std::string>>
read_revocation_list(const std::string& pem) {
  openssl_ptr<X509_CRL> list{
    PEM_read_bio_X509_CRL(reader(pem).get(), nullptr, no_passphrase, nullptr)};
  if (!list)
    return unreadable("list of revoked certificates");
  std::vector<std::string> out;
  auto* entries = X509_CRL_get_REVOKED(list.get());
  for (int i = 0; i < sk_X509_REVOKED_num(entries); ++i)
    out.push_back(hex_of(
      X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(entries, i))));
  std::sort(out.begin(), out.end());
  return out;
}

bool is_certificate_name(std::string_view name) {
  auto fits = [](unsigned char c) {
    return c < 0x80
           && (std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-');
  };
  return !name.empty() && name.size() <= 64 && name.front() != '.'
         && name.front() != '-' && std::all_of(name.begin(), name.end(), fits);
}

} // namespace muster
