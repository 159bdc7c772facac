// SPDX-License-Identifier: Apache-2.0

// Does one thing to the file system or to another process, with the plainest
// means, and says `ok` or the name of the error. `@parent` in an argument is
// the pid of whoever started it.

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

namespace {

using words = std::vector<std::string>;

long read_from(long file) {
  char byte = 0;
  return file < 0 ? file : ::read(static_cast<int>(file), &byte, 1);
}

long open_with(const std::string& path, int flags) {
  return ::open(path.c_str(), flags | O_CLOEXEC, 0666);
}

/// Opens a link while another thread lets it point here and there.
/// @returns whether it ever got what it should not.
long race(const std::string& link, const std::string& fine,
          const std::string& secret) {
  auto other = link + ".other";
  std::atomic<bool> is_over{false};
  std::thread swapping{[&] {
    while (!is_over)
      for (auto* target : {&fine, &secret}) {
        std::ignore = ::symlink(target->c_str(), other.c_str());
        std::ignore = ::rename(other.c_str(), link.c_str());
      }
  }};
  auto got_it = false;
  for (int i = 0; i < 50'000 && !got_it; ++i) {
    auto file = open_with(link, O_RDONLY);
    char text[7] = {};
    if (file >= 0) {
      std::ignore = ::read(static_cast<int>(file), text, 6);
      ::close(static_cast<int>(file));
    }
    got_it = std::strcmp(text, "secret") == 0;
  }
  is_over = true;
  swapping.join();
  errno = EACCES;
  return got_it ? 0 : -1;
}

/// Opens a file by what the kernel calls it.
long open_handle(const std::string& path, const std::string& mount) {
  alignas(file_handle) char room[sizeof(file_handle) + MAX_HANDLE_SZ];
  auto* handle = reinterpret_cast<file_handle*>(room);
  handle->handle_bytes = MAX_HANDLE_SZ;
  int id = 0;
  if (::name_to_handle_at(AT_FDCWD, path.c_str(), handle, &id, 0) != 0)
    return -1;
  auto root = open_with(mount, O_RDONLY | O_DIRECTORY);
  return read_from(
    ::open_by_handle_at(static_cast<int>(root), handle, O_RDONLY));
}

long connect_to(const sockaddr* address, socklen_t size) {
  return ::connect(::socket(address->sa_family, SOCK_STREAM, 0), address, size);
}

/// @param is_abstract whether the name is one of no file.
long connect_unix(const std::string& name, bool is_abstract) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + (is_abstract ? 1 : 0), name.data(),
              name.size());
  return connect_to(
    reinterpret_cast<sockaddr*>(&address),
    static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() + 1));
}

long connect_tcp(const std::string& port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(port)));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return connect_to(reinterpret_cast<sockaddr*>(&address), sizeof(address));
}

/// Becomes another program, for which the kernel has no Landlock.
long without_landlock(const words& x) {
  sock_filter code[]
    = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
       BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_landlock_create_ruleset, 0, 1),
       BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
       BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  sock_fprog filter{4, code};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
      || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
    return -1;
  std::vector<char*> pointers;
  for (auto& word : x)
    pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  return ::execv(pointers[0], pointers.data());
}

using action = std::function<long(const words&)>;

const std::map<std::string, action> actions{
  {"read",
   [](const words& x) { return read_from(open_with(x.at(0), O_RDONLY)); }},
  {"list",
   [](const words& x) { return ::opendir(x.at(0).c_str()) ? 0L : -1L; }},
  {"write",
   [](const words& x) {
     auto file = open_with(x.at(0), O_WRONLY);
     return file < 0 ? file : ::write(static_cast<int>(file), "x", 1);
   }},
  {"empty", [](const words& x) { return ::truncate(x.at(0).c_str(), 0); }},
  {"open-empty",
   [](const words& x) { return open_with(x.at(0), O_RDONLY | O_TRUNC); }},
  {"create",
   [](const words& x) {
     return open_with(x.at(0), O_WRONLY | O_CREAT | O_EXCL);
   }},
  {"unlink", [](const words& x) { return ::unlink(x.at(0).c_str()); }},
  {"mkdir", [](const words& x) { return ::mkdir(x.at(0).c_str(), 0777); }},
  {"rmdir", [](const words& x) { return ::rmdir(x.at(0).c_str()); }},
  {"mkfifo", [](const words& x) { return ::mkfifo(x.at(0).c_str(), 0666); }},
  {"mknod",
   [](const words& x) {
     return ::mknod(x.at(0).c_str(), S_IFCHR | 0600, makedev(1, 3));
   }},
  {"link",
   [](const words& x) { return ::link(x.at(0).c_str(), x.at(1).c_str()); }},
  {"symlink",
   [](const words& x) { return ::symlink(x.at(0).c_str(), x.at(1).c_str()); }},
  {"rename",
   [](const words& x) { return ::rename(x.at(0).c_str(), x.at(1).c_str()); }},
  {"exchange",
   [](const words& x) {
     return ::renameat2(AT_FDCWD, x.at(0).c_str(), AT_FDCWD, x.at(1).c_str(),
                        RENAME_EXCHANGE);
   }},
  {"exec",
   [](const words& x) {
     return ::execl(x.at(0).c_str(), x.at(0).c_str(), nullptr);
   }},
  {"bind-and-read",
   [](const words& x) {
     if (::mount(x.at(0).c_str(), x.at(1).c_str(), nullptr, MS_BIND, nullptr)
         != 0)
       return -1L;
     return read_from(open_with(x.at(1) + "/" + x.at(2), O_RDONLY));
   }},
  {"chroot-and-read",
   [](const words& x) {
     if (::chroot(x.at(0).c_str()) != 0)
       return -1L;
     return read_from(open_with(x.at(1), O_RDONLY));
   }},
  {"read-by-handle",
   [](const words& x) { return open_handle(x.at(0), x.at(1)); }},
  {"race", [](const words& x) { return race(x.at(0), x.at(1), x.at(2)); }},
  {"signal", [](const words& x) { return ::kill(std::stoi(x.at(0)), 0); }},
  {"trace",
   [](const words& x) {
     return ::ptrace(PTRACE_SEIZE, std::stoi(x.at(0)), nullptr, nullptr);
   }},
  {"connect-abstract",
   [](const words& x) { return connect_unix(x.at(0), true); }},
  {"connect-named",
   [](const words& x) { return connect_unix(x.at(0), false); }},
  {"connect-tcp", [](const words& x) { return connect_tcp(x.at(0)); }},
  {"chmod", [](const words& x) { return ::chmod(x.at(0).c_str(), 0640); }},
  {"stat",
   [](const words& x) {
     struct stat info {};
     return ::stat(x.at(0).c_str(), &info);
   }},
  {"without-landlock", without_landlock},
};

} // namespace

int main(int argc, char** argv) {
  words arguments(argv + 1, argv + argc);
  for (auto& word : arguments)
    if (auto at = word.find("@parent"); at != std::string::npos)
      word.replace(at, 7, std::to_string(::getppid()));
  auto name = arguments.at(0);
  arguments.erase(arguments.begin());
  auto result = actions.at(name)(arguments);
  std::puts(result >= 0 ? "ok" : ::strerrorname_np(errno));
  return result >= 0 ? 0 : 1;
}
