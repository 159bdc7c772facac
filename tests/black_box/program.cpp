// SPDX-License-Identifier: Apache-2.0

#include "tests/black_box/program.hpp"

#include "app/client/find_node.hpp"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace muster::test {

namespace {

using clock = std::chrono::steady_clock;

/// Nothing that a test waits for takes longer, also on a busy machine.
constexpr auto patience = std::chrono::seconds(60);

std::chrono::milliseconds left(clock::time_point end) {
  return std::max(
    std::chrono::milliseconds(0),
    std::chrono::duration_cast<std::chrono::milliseconds>(end - clock::now()));
}

/// The environment of a program: what it needs, what the test sets, and nothing
/// of whoever runs the test.
std::vector<std::string>
make_environment(const std::map<std::string, std::string>& variables) {
  std::map<std::string, std::string> all{{"PATH", "/usr/bin:/bin"},
                                         {"HOME", "/nonexistent"}};
  if (auto* options = std::getenv("ASAN_OPTIONS"))
    all["ASAN_OPTIONS"] = options;
  for (auto& [name, value] : variables)
    all[name] = value;
  std::vector<std::string> out;
  for (auto& [name, value] : all)
    out.push_back(name + "=" + value);
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (auto& text : texts)
    out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

} // namespace

// -- program_result -----------------------------------------------------------

json program_result::document() const {
  auto value = json::parse(out, nullptr, false);
  if (value.is_discarded())
    throw std::runtime_error{"standard output is no JSON document: " + out
                             + err};
  return value;
}

std::string program_result::error_code() const {
  auto value = json::parse(err, nullptr, false);
  if (!value.is_object() || !value.contains("error"))
    return "no error document: " + err;
  return value["error"]["code"];
}

// -- process ------------------------------------------------------------------

process::process(const std::vector<std::string>& arguments,
                 const program_options& options)
  : input_(options.input) {
  int in[2];
  int out[2];
  int err[2];
  if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0
      || ::pipe2(err, O_CLOEXEC) != 0)
    throw std::runtime_error{"no pipes left"};
  auto texts = arguments;
  auto argv = pointers(texts);
  auto variables = make_environment(options.variables);
  auto envp = pointers(variables);
  auto parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) {
    // Only what is safe behind a fork of a program with threads.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent)
      ::_exit(127);
    ::dup2(in[0], STDIN_FILENO);
    ::dup2(out[1], STDOUT_FILENO);
    ::dup2(err[1], STDERR_FILENO);
    if (!options.folder.empty() && ::chdir(options.folder.c_str()) != 0)
      ::_exit(127);
    ::execve(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
  ::close(in[0]);
  ::close(out[1]);
  ::close(err[1]);
  in_ = in[1];
  out_ = out[0];
  err_ = err[0];
  for (auto descriptor : {in_, out_, err_})
    ::fcntl(descriptor, F_SETFL, O_NONBLOCK);
  ::signal(SIGPIPE, SIG_IGN);
}

process::~process() {
  if (!ended_) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  for (auto descriptor : {in_, out_, err_})
    if (descriptor >= 0)
      ::close(descriptor);
}

void process::signal(int number) {
  if (!ended_)
    ::kill(pid_, number);
}

std::string process::read_line(std::chrono::milliseconds limit) {
  auto end = clock::now() + limit;
  for (;;) {
    auto newline = result_.out.find('\n', read_);
    if (newline != std::string::npos) {
      auto line = result_.out.substr(read_, newline - read_);
      read_ = newline + 1;
      return line;
    }
    if (clock::now() >= end || !read_some(left(end)))
      return result_.out.substr(std::exchange(read_, result_.out.size()));
  }
}

std::optional<program_result> process::wait(std::chrono::milliseconds limit) {
  if (ended_)
    return result_;
  auto end = clock::now() + limit;
  while (clock::now() < end && read_some(left(end))) {
    // nop
  }
  for (;;) {
    int status = 0;
    auto found = ::waitpid(pid_, &status, WNOHANG);
    if (found == pid_) {
      ended_ = true;
      result_.code
        = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
      return result_;
    }
    if (clock::now() >= end)
      return std::nullopt;
    ::usleep(1'000);
  }
}

bool process::read_some(std::chrono::milliseconds limit) {
  pollfd ends[] = {{out_, POLLIN, 0}, {err_, POLLIN, 0}, {in_, POLLOUT, 0}};
  if (input_.empty() && in_ >= 0) {
    ::close(in_);
    in_ = ends[2].fd = -1;
  }
  if (out_ < 0 && err_ < 0)
    return false;
  ::poll(ends, 3, static_cast<int>(limit.count()));
  if (in_ >= 0 && ends[2].revents != 0) {
    auto n = ::write(in_, input_.data(), input_.size());
    if (n > 0)
      input_.erase(0, static_cast<std::size_t>(n));
    else if (errno != EAGAIN)
      input_.clear();
  }
  auto take = [](int& descriptor, std::string& to) {
    char buffer[64 * 1024];
    auto n = ::read(descriptor, buffer, sizeof(buffer));
    if (n > 0)
      to.append(buffer, static_cast<std::size_t>(n));
    else if (n == 0) {
      ::close(descriptor);
      descriptor = -1;
    }
  };
  if (ends[0].revents != 0)
    take(out_, result_.out);
  if (ends[1].revents != 0)
    take(err_, result_.err);
  return true;
}

// -- temporary_folder ---------------------------------------------------------

temporary_folder::temporary_folder() {
  char name[] = "/tmp/muster-test-XXXXXX";
  if (::mkdtemp(name) == nullptr)
    throw std::runtime_error{"no temporary folder"};
  path_ = name;
}

temporary_folder::~temporary_folder() {
  std::error_code code;
  std::filesystem::remove_all(path_, code);
}

std::string temporary_folder::write(const std::string& name,
                                    const std::string& text) const {
  auto path = path_ + "/" + name;
  std::ofstream{path, std::ios::binary} << text;
  return path;
}

// -- black_box ----------------------------------------------------------------

black_box::black_box(std::string state_directory)
  : state_(state_directory.empty() ? folder.path() + "/state"
                                   : std::move(state_directory)) {
  // nop
}

program_result black_box::run(std::vector<std::string> arguments,
                              program_options options) {
  arguments.insert(arguments.begin(), MUSTER_PROGRAM);
  arguments.insert(arguments.begin(), options.runner.begin(),
                   options.runner.end());
  options.variables.emplace("MUSTER_STATE_DIR", state_);
  if (options.folder.empty())
    options.folder = folder.path();
  process program{arguments, options};
  auto result = program.wait(patience);
  if (!result)
    throw std::runtime_error{"the program does not end: " + arguments.at(1)};
  return *result;
}

program_result black_box::run_json(std::vector<std::string> arguments,
                                   program_options options) {
  arguments.insert(arguments.begin(), "--json");
  return run(std::move(arguments), std::move(options));
}

json black_box::run_script(const std::string& code,
                           std::vector<std::string> more) {
  auto path = folder.write("script.lua", code);
  std::vector<std::string> arguments{"run", path, "--detach"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_json(std::move(arguments)).document();
}

void black_box::launch(std::vector<std::string> more, program_options options) {
  std::vector<std::string> arguments{MUSTER_PROGRAM, "node", "--port", "0",
                                     "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  arguments.insert(arguments.begin(), options.runner.begin(),
                   options.runner.end());
  options.variables.emplace("MUSTER_STATE_DIR", state_);
  node_ = std::make_unique<process>(arguments, options);
}

bool black_box::await_ready() {
  ready_ = json::parse(node_->read_line(patience), nullptr, false);
  return ready_.is_object() && ready_.value("event", "") == "ready";
}

bool black_box::start(std::vector<std::string> more, program_options options) {
  launch(std::move(more), std::move(options));
  return await_ready();
}

void black_box::require_start(std::vector<std::string> more,
                              program_options options) {
  if (!start(std::move(more), std::move(options)))
    throw std::runtime_error{"the node does not start: "
                             + node_->wait(patience)->err};
}

void black_box::kill() {
  node_->signal(SIGKILL);
  if (!node_->wait(patience))
    throw std::runtime_error{"the node cannot be killed"};
  node_.reset();
}

program_result black_box::stop() {
  node_->signal(SIGTERM);
  auto result = node_->wait(patience);
  if (!result)
    throw std::runtime_error{"the node does not stop"};
  node_.reset();
  return *result;
}

client_options black_box::options() const {
  client_options out;
  out.find = [state = state_] { return find_node({}, state); };
  return out;
}

expected<std::unique_ptr<client>> black_box::connect() const {
  client_options options;
  options.port = ready_.at("port").get<std::uint16_t>();
  options.tls = state_ + "/tls";
  options.reconnect_for = {};
  return client::connect(options);
}

} // namespace muster::test
