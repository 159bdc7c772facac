// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE remote.tls_scribe

#include "actors/remote/tls_scribe.hpp"

#include "tests/support/suite.hpp"

#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <openssl/ssl.h>

#include <utility>

#include <sys/socket.h>

using namespace muster;

namespace {

struct fixture {
  caf::actor_system_config config;
  openssl_ptr<SSL_CTX> context{SSL_CTX_new(TLS_method())};

  fixture() {
    config.load<caf::io::middleman>();
  }

  /// A connection, of which nobody is on the other side.
  tls_connection connection() {
    int ends[2];
    CAF_REQUIRE_EQUAL(
      ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    socket_handle other{ends[1]};
    return {socket_handle{ends[0]}, openssl_ptr<SSL>{SSL_new(context.get())},
            nullptr};
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(tls_scribe_tests, fixture)

CAF_TEST(no connection has the handle of one that had its socket before) {
  caf::actor_system system{config};
  auto& loop = multiplexer_of(system);
  // The framework forgets a handle some time behind the end of its connection,
  // and the system gives the number of a socket to the next one at once.
  auto old = connection();
  auto number = old.socket.get();
  auto scribe = make_scribe(loop, std::move(old), nullptr, {});
  auto handle = scribe->hdl();
  scribe.reset();
  auto next = connection();
  CAF_REQUIRE_EQUAL(next.socket.get(), number);
  auto other = make_scribe(loop, std::move(next), nullptr, {});
  CAF_CHECK(other->hdl() != handle);
}

CAF_TEST_FIXTURE_SCOPE_END()
