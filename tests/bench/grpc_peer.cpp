// SPDX-License-Identifier: Apache-2.0

// What the node is compared with: a server and a client of gRPC that speak TLS
// with certificates on both sides, as the node and its clients do.
//
// The server answers a record with the same record. With a file, the record is
// appended to that first, and synced; all that come while the disk is busy go
// to disk together.

#include "journal.grpc.pb.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

namespace {

using muster::bench::Journal;
using muster::bench::Record;

/// Bytes of a record, as many as an answer of the other rows has.
constexpr std::size_t record_size = 250;

/// How many calls the server takes at once.
constexpr int open_calls = 200;

std::string read_file(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  if (!in)
    throw std::runtime_error{"cannot read " + path};
  return {std::istreambuf_iterator<char>{in}, {}};
}

// -- server -------------------------------------------------------------------

/// A call that the server has taken or waits for.
struct call {
  grpc::ServerContext context;
  Record record;
  grpc::ServerAsyncResponseWriter<Record> answer{&context};
  bool is_answered = false;

  void finish() {
    is_answered = true;
    answer.Finish(record, grpc::Status::OK, this);
  }
};

/// Writes records and answers those who sent them, in a thread of its own.
class journal {
public:
  explicit journal(const std::string& path)
    : file_(::open(path.c_str(), O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC,
                   S_IRUSR | S_IWUSR)) {
    if (file_ < 0)
      throw std::runtime_error{"cannot write to " + path};
    thread_ = std::thread{[this] { run(); }};
  }

  void append(call* x) {
    std::unique_lock guard{mutex_};
    waiting_.push_back(x);
    guard.unlock();
    changed_.notify_one();
  }

private:
  /// Ends with the process.
  void run() {
    std::vector<call*> batch;
    std::string bytes;
    for (;;) {
      std::unique_lock guard{mutex_};
      changed_.wait(guard, [this] { return !waiting_.empty(); });
      batch.swap(waiting_);
      guard.unlock();
      for (auto* x : batch)
        bytes += x->record.content();
      auto size = static_cast<ssize_t>(bytes.size());
      if (::write(file_, bytes.data(), bytes.size()) != size
          || ::fdatasync(file_) != 0) {
        std::perror("the journal cannot be written");
        ::_exit(1);
      }
      for (auto* x : batch)
        x->finish();
      batch.clear();
      bytes.clear();
    }
  }

  int file_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<call*> waiting_;
  std::thread thread_;
};

/// Serves until the process is killed. Says on which port.
[[noreturn]] void serve(const std::string& tls, const std::string& path) {
  grpc::SslServerCredentialsOptions own{
    GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY};
  own.pem_root_certs = read_file(tls + "/ca.pem");
  own.pem_key_cert_pairs.push_back(
    {read_file(tls + "/node.key"), read_file(tls + "/node.pem")});
  Journal::AsyncService service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(own),
                           &port);
  builder.RegisterService(&service);
  auto queue = builder.AddCompletionQueue();
  auto server = builder.BuildAndStart();
  if (!server)
    throw std::runtime_error{"the server does not start"};
  std::unique_ptr<journal> disk;
  if (!path.empty())
    disk = std::make_unique<journal>(path);
  auto take_one = [&] {
    auto* x = new call;
    service.RequestAppend(&x->context, &x->record, &x->answer, queue.get(),
                          queue.get(), x);
  };
  for (int i = 0; i < open_calls; ++i)
    take_one();
  std::printf("%d\n", port);
  std::fflush(stdout);
  void* tag = nullptr;
  bool is_fine = false;
  while (queue->Next(&tag, &is_fine)) {
    auto* x = static_cast<call*>(tag);
    if (!is_fine || x->is_answered) {
      delete x;
      continue;
    }
    take_one();
    if (disk)
      disk->append(x);
    else
      x->finish();
  }
  ::_exit(1);
}

// -- client -------------------------------------------------------------------

/// A call that the client waits for.
struct request {
  std::unique_ptr<grpc::ClientContext> context;
  std::unique_ptr<grpc::ClientAsyncResponseReader<Record>> reader;
  Record answer;
  grpc::Status status;
};

/// Calls again and again by one connection, so many at once.
/// @returns calls per second.
double drive(Journal::Stub& stub, int outstanding, double seconds) {
  using clock = std::chrono::steady_clock;
  Record record;
  record.set_content(std::string(record_size, '.'));
  grpc::CompletionQueue queue;
  std::vector<request> requests(static_cast<std::size_t>(outstanding));
  auto begin_one = [&](request& x) {
    x.context = std::make_unique<grpc::ClientContext>();
    x.reader = stub.AsyncAppend(x.context.get(), record, &queue);
    x.reader->Finish(&x.answer, &x.status, &x);
  };
  auto begin = clock::now();
  auto end = begin
             + std::chrono::duration_cast<clock::duration>(
               std::chrono::duration<double>(seconds));
  for (auto& x : requests)
    begin_one(x);
  auto last = begin;
  double count = 0;
  void* tag = nullptr;
  bool is_fine = false;
  while (outstanding > 0 && queue.Next(&tag, &is_fine)) {
    auto& x = *static_cast<request*>(tag);
    if (!x.status.ok())
      throw std::runtime_error{x.status.error_message()};
    ++count;
    last = clock::now();
    if (last < end)
      begin_one(x);
    else
      --outstanding;
  }
  return count / std::chrono::duration<double>(last - begin).count();
}

/// Measures, and says how many calls there were per second.
void measure(const std::string& tls, int port, int outstanding,
             double seconds) {
  grpc::SslCredentialsOptions own;
  own.pem_root_certs = read_file(tls + "/ca.pem");
  own.pem_private_key = read_file(tls + "/client.key");
  own.pem_cert_chain = read_file(tls + "/client.pem");
  grpc::ChannelArguments arguments;
  // The name in the certificate of a node.
  arguments.SetSslTargetNameOverride("node");
  auto stub = Journal::NewStub(grpc::CreateCustomChannel(
    "127.0.0.1:" + std::to_string(port), grpc::SslCredentials(own), arguments));
  // What is set up at the first call is not what is measured.
  drive(*stub, outstanding, 0.05);
  std::printf("%.1f\n", drive(*stub, outstanding, seconds));
}

} // namespace

int main(int argc, char** argv) {
  std::string tls;
  std::string file;
  int port = 0;
  int outstanding = 1;
  double seconds = 1;
  CLI::App app{"Serves and calls with gRPC, for comparison."};
  app.require_subcommand(1);
  auto* server = app.add_subcommand("serve", "Serve, and say on which port");
  server->add_option("--tls", tls, "A folder of certificates")->required();
  server->add_option("--file", file, "Where to append what comes");
  auto* client = app.add_subcommand("call", "Say how many calls per second");
  client->add_option("--tls", tls, "A folder of certificates")->required();
  client->add_option("--port", port, "Where the server is")->required();
  client->add_option("--outstanding", outstanding, "How many calls at once");
  client->add_option("--seconds", seconds, "What it takes");
  CLI11_PARSE(app, argc, argv);
  try {
    if (*server)
      serve(tls, file);
    measure(tls, port, outstanding, seconds);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
