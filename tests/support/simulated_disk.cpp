// SPDX-License-Identifier: Apache-2.0

#include "tests/support/simulated_disk.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <set>

namespace muster::test {

namespace {

std::string folder_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

} // namespace

std::string to_string(disk_operation operation) {
  switch (operation) {
    case disk_operation::create:
      return "create";
    case disk_operation::write:
      return "write";
    case disk_operation::truncate:
      return "truncate";
    case disk_operation::sync:
      return "sync";
    case disk_operation::rename:
      return "rename";
    case disk_operation::remove:
      return "remove";
    case disk_operation::sync_folder:
      return "sync_folder";
    default:
      return "read";
  }
}

// -- files --------------------------------------------------------------------

/// A file with its two images.
struct simulated_disk::file {
  /// A change that is not synced: bytes at an offset, or a new size.
  struct change {
    std::uint64_t offset = 0;
    std::string bytes;
    bool is_size = false;

    void apply(std::string& to, std::size_t count) const {
      if (is_size) {
        to.resize(offset);
        return;
      }
      if (count == 0)
        return;
      if (to.size() < offset + count)
        to.resize(offset + count);
      to.replace(offset, count, bytes, 0, count);
    }
  };

  std::string live;
  std::string durable;
  std::vector<change> changes;

  void add(change c) {
    c.apply(live, c.bytes.size());
    changes.push_back(std::move(c));
  }

  void sync() {
    for (auto& c : changes)
      c.apply(durable, c.bytes.size());
    changes.clear();
  }

  /// Leaves what a disk might have kept of the changes: each of them or not, in
  /// any combination, and one of those that it kept in part.
  void lose_power(std::mt19937_64& random) {
    // Half of the time nothing that was not synced is there.
    auto keeps_some = random() % 2 == 0;
    for (auto& c : changes) {
      if (!keeps_some || random() % 2 == 0)
        continue;
      auto count = random() % 4 == 0 && !c.bytes.empty()
                     ? random() % c.bytes.size()
                     : c.bytes.size();
      c.apply(durable, count);
    }
    changes.clear();
    live = durable;
  }
};

// -- the front end for SQLite -------------------------------------------------

/// Makes the disk known to SQLite under a name of its own.
class simulated_disk::sqlite_front {
public:
  explicit sqlite_front(simulated_disk& disk) {
    vfs_.iVersion = 1;
    vfs_.szOsFile = sizeof(open_file);
    vfs_.mxPathname = 512;
    vfs_.zName = disk.file_system_.c_str();
    vfs_.pAppData = &disk;
    vfs_.xOpen = open;
    vfs_.xDelete = remove;
    vfs_.xAccess = access;
    vfs_.xFullPathname = full_path;
    vfs_.xRandomness = randomness;
    vfs_.xSleep = [](sqlite3_vfs*, int) { return 0; };
    vfs_.xCurrentTime = [](sqlite3_vfs*, double* now) {
      *now = 2'460'000.5; // some day; nothing depends on it
      return SQLITE_OK;
    };
    vfs_.xGetLastError = [](sqlite3_vfs*, int, char*) { return last_error; };
    sqlite3_vfs_register(&vfs_, 0);
  }

  ~sqlite_front() {
    sqlite3_vfs_unregister(&vfs_);
  }

private:
  struct open_file {
    sqlite3_file base;
    simulated_disk* disk;
    file_handle* handle;
    bool delete_on_close;
    /// The first sync of a log or journal behind its opening makes its name
    /// durable as well: another may have created it and died.
    bool sync_folder;
  };

  static thread_local int last_error;

  static open_file& of(sqlite3_file* file) {
    return *reinterpret_cast<open_file*>(file);
  }

  static simulated_disk& disk_of(sqlite3_vfs* vfs) {
    return *static_cast<simulated_disk*>(vfs->pAppData);
  }

  /// @param otherwise the code for errors that have none of their own.
  static int code(int error_number, int otherwise) {
    last_error = error_number;
    switch (error_number) {
      case 0:
        return SQLITE_OK;
      case ENOSPC:
        return SQLITE_FULL;
      default:
        return otherwise;
    }
  }

  static int open(sqlite3_vfs* vfs, const char* path, sqlite3_file* out,
                  int flags, int* out_flags) {
    auto& disk = disk_of(vfs);
    auto& file = of(out);
    file.base.pMethods = nullptr;
    auto handle = std::make_unique<file_handle>();
    std::string name
      = path != nullptr ? path : fmt::format("/tmp-{}", disk.random());
    constexpr int logs
      = SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL;
    file.sync_folder = (flags & logs) != 0 && (flags & SQLITE_OPEN_CREATE) != 0;
    auto failed = disk.open(name, (flags & SQLITE_OPEN_CREATE) != 0,
                            (flags & SQLITE_OPEN_EXCLUSIVE) != 0, *handle);
    if (failed != 0)
      return code(failed, SQLITE_CANTOPEN);
    file.disk = &disk;
    file.handle = handle.release();
    file.delete_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
    file.base.pMethods = methods();
    if (out_flags != nullptr)
      *out_flags = flags;
    return SQLITE_OK;
  }

  static int remove(sqlite3_vfs* vfs, const char* path, int sync_dir) {
    auto& disk = disk_of(vfs);
    auto failed = disk.remove(path);
    if (failed == 0 && sync_dir != 0)
      failed = disk.sync_folder(folder_of(path));
    if (failed == ENOENT)
      return SQLITE_IOERR_DELETE_NOENT;
    return code(failed, SQLITE_IOERR_DELETE);
  }

  static int access(sqlite3_vfs* vfs, const char* path, int, int* out) {
    *out = disk_of(vfs).exists(path) ? 1 : 0;
    return SQLITE_OK;
  }

  static int full_path(sqlite3_vfs*, const char* path, int size, char* out) {
    sqlite3_snprintf(size, out, "%s", path);
    return SQLITE_OK;
  }

  static int randomness(sqlite3_vfs* vfs, int size, char* out) {
    for (int i = 0; i < size; ++i)
      out[i] = static_cast<char>(disk_of(vfs).random());
    return size;
  }

  static const sqlite3_io_methods* methods() {
    static const sqlite3_io_methods table = make_methods();
    return &table;
  }

  static sqlite3_io_methods make_methods() {
    sqlite3_io_methods m{};
    // Version 1 has no shared memory, as on file systems that cannot map
    // files.
    m.iVersion = 1;
    m.xClose = [](sqlite3_file* f) {
      auto& file = of(f);
      if (file.delete_on_close)
        std::ignore = file.disk->remove(file.handle->path);
      file.disk->close(*file.handle);
      delete file.handle;
      return SQLITE_OK;
    };
    m.xRead = [](sqlite3_file* f, void* bytes, int size, sqlite3_int64 offset) {
      auto& file = of(f);
      std::size_t got = 0;
      auto failed = file.disk->read(
        *file.handle, static_cast<std::uint64_t>(offset),
        static_cast<char*>(bytes), static_cast<std::size_t>(size), got);
      if (failed != 0)
        return code(failed, SQLITE_IOERR_READ);
      if (got == static_cast<std::size_t>(size))
        return SQLITE_OK;
      std::memset(static_cast<char*>(bytes) + got, 0,
                  static_cast<std::size_t>(size) - got);
      return SQLITE_IOERR_SHORT_READ;
    };
    m.xWrite
      = [](sqlite3_file* f, const void* bytes, int size, sqlite3_int64 offset) {
          auto& file = of(f);
          return code(file.disk->write(*file.handle,
                                       static_cast<std::uint64_t>(offset),
                                       static_cast<const char*>(bytes),
                                       static_cast<std::size_t>(size)),
                      SQLITE_IOERR_WRITE);
        };
    m.xTruncate = [](sqlite3_file* f, sqlite3_int64 size) {
      auto& file = of(f);
      return code(
        file.disk->truncate(*file.handle, static_cast<std::uint64_t>(size)),
        SQLITE_IOERR_TRUNCATE);
    };
    m.xSync = [](sqlite3_file* f, int) {
      auto& file = of(f);
      // Whatever the reason: a sync that failed is a sync that failed.
      last_error = file.disk->sync(*file.handle);
      if (last_error == 0 && std::exchange(file.sync_folder, false))
        last_error = file.disk->sync_folder(folder_of(file.handle->path));
      return last_error == 0 ? SQLITE_OK : SQLITE_IOERR_FSYNC;
    };
    m.xFileSize = [](sqlite3_file* f, sqlite3_int64* size) {
      auto& file = of(f);
      *size = static_cast<sqlite3_int64>(file.disk->size_of(*file.handle));
      return SQLITE_OK;
    };
    m.xLock = [](sqlite3_file*, int) { return SQLITE_OK; };
    m.xUnlock = [](sqlite3_file*, int) { return SQLITE_OK; };
    m.xCheckReservedLock = [](sqlite3_file*, int* out) {
      *out = 0;
      return SQLITE_OK;
    };
    m.xFileControl = [](sqlite3_file* f, int what, void* out) {
      auto& file = of(f);
      auto& result = *static_cast<int*>(out);
      switch (what) {
        case SQLITE_FCNTL_HAS_MOVED:
          result = file.disk->is_in_place(*file.handle) ? 0 : 1;
          return SQLITE_OK;
        case SQLITE_FCNTL_LAST_ERRNO:
          result = last_error;
          return SQLITE_OK;
        default:
          return SQLITE_NOTFOUND;
      }
    };
    m.xSectorSize = [](sqlite3_file*) { return 4096; };
    m.xDeviceCharacteristics = [](sqlite3_file*) {
      // A write that is torn changes no byte outside of it, as on real disks.
      return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
    };
    return m;
  }

  sqlite3_vfs vfs_{};
};

thread_local int simulated_disk::sqlite_front::last_error = 0;

// -- the front end for documents ----------------------------------------------

class simulated_disk::document_front final : public disk {
public:
  explicit document_front(std::shared_ptr<simulated_disk*> disk)
    : disk_(std::move(disk)) {
    // nop
  }

  expected<std::optional<std::string>> read(const std::string& path) override {
    if (!the_disk().exists(path))
      return std::nullopt;
    return the_disk().contents(path);
  }

  expected<std::unique_ptr<disk_file>>
  create(const std::string& path) override {
    auto file = std::make_unique<written_file>(the_disk());
    if (auto failed = the_disk().open(path, true, true, file->handle))
      return tl::unexpected<failure>{disk_failure(failed, "create", path)};
    return file;
  }

  expected<void> rename(const std::string& from,
                        const std::string& to) override {
    return check(the_disk().rename(from, to), "rename to", to);
  }

  expected<void> remove(const std::string& path) override {
    auto failed = the_disk().remove(path);
    return check(failed == ENOENT ? 0 : failed, "remove", path);
  }

  expected<void> make_folder(const std::string& path) override {
    return check(the_disk().make_folder(path), "create", path);
  }

  expected<void> sync_folder(const std::string& path) override {
    return check(the_disk().sync_folder(path), "sync", path);
  }

  expected<std::vector<std::string>> list(const std::string& path) override {
    // A folder is there as long as a file in it is.
    std::set<std::string> out;
    for (auto& name : the_disk().names())
      if (name.starts_with(path + "/")) {
        auto rest = name.substr(path.size() + 1);
        out.insert(rest.substr(0, rest.find('/')));
      }
    return std::vector<std::string>(out.begin(), out.end());
  }

private:
  static expected<void> check(int failed, const char* what,
                              const std::string& path) {
    if (failed != 0)
      return tl::unexpected<failure>{disk_failure(failed, what, path)};
    return {};
  }

  class written_file final : public disk_file {
  public:
    explicit written_file(simulated_disk& disk) : disk_(disk) {
      // nop
    }

    ~written_file() override {
      disk_.close(handle);
    }

    expected<void> write(std::string_view bytes) override {
      auto at = disk_.size_of(handle);
      return check(disk_.write(handle, at, bytes.data(), bytes.size()), "write",
                   handle.path);
    }

    expected<void> sync() override {
      return check(disk_.sync(handle), "sync", handle.path);
    }

    expected<void> close() override {
      return {};
    }

    file_handle handle;

  private:
    simulated_disk& disk_;
  };

  simulated_disk& the_disk() {
    return **disk_;
  }

  std::shared_ptr<simulated_disk*> disk_;
};

// -- simulated_disk -----------------------------------------------------------

simulated_disk::simulated_disk(std::uint64_t seed) : random(seed) {
  static std::atomic<int> count{0};
  file_system_ = fmt::format("simulated-{}", ++count);
  front_ = std::make_unique<sqlite_front>(*this);
  self_ = std::make_shared<simulated_disk*>(this);
}

simulated_disk::~simulated_disk() = default;

std::unique_ptr<disk> simulated_disk::documents() {
  return std::make_unique<document_front>(self_);
}

void simulated_disk::fail_once(std::uint64_t number, int error_number) {
  failures_[number] = error_number;
}

void simulated_disk::cut_power() {
  // Renames and removals that were not synced may have come through or not,
  // each file for itself.
  auto kept = durable_;
  for (auto& [path, file] : live_)
    if (!durable_.contains(path) || durable_[path] != file)
      if (random() % 2 == 0)
        kept[path] = file;
  for (auto& [path, file] : durable_)
    if (!live_.contains(path) && random() % 2 == 0)
      kept.erase(path);
  std::map<file*, bool> done;
  for (auto& [path, file] : kept)
    if (!std::exchange(done[file.get()], true))
      file->lose_power(random);
  live_ = durable_ = std::move(kept);
  kill_process();
}

void simulated_disk::kill_process() {
  ++generation_;
  open_ = 0;
}

std::optional<std::string>
simulated_disk::contents(const std::string& path) const {
  auto i = live_.find(path);
  if (i == live_.end())
    return std::nullopt;
  return i->second->live;
}

void simulated_disk::set_contents(const std::string& path, std::string bytes) {
  auto changed = std::make_shared<file>();
  changed->live = changed->durable = std::move(bytes);
  live_[path] = durable_[path] = changed;
}

std::vector<std::string> simulated_disk::names() const {
  std::vector<std::string> out;
  for (auto& [path, file] : live_)
    out.push_back(path);
  return out;
}

std::size_t simulated_disk::open_files() const {
  return open_;
}

int simulated_disk::begin(disk_operation operation, const std::string& path) {
  if (is_off)
    return EIO;
  auto number = ++operations_;
  if (auto i = failures_.find(number); i != failures_.end()) {
    ++failed_;
    return i->second;
  }
  return fault_ ? fault_(operation, path, number) : 0;
}

std::uint64_t simulated_disk::used() const {
  std::uint64_t sum = 0;
  for (auto& [path, file] : live_)
    sum += file->live.size();
  return sum;
}

int simulated_disk::open(const std::string& path, bool create, bool exclusive,
                         file_handle& out) {
  auto i = live_.find(path);
  if (i == live_.end()) {
    if (!create)
      return is_off ? EIO : ENOENT;
    if (auto failed = begin(disk_operation::create, path))
      return failed;
    i = live_.emplace(path, std::make_shared<file>()).first;
  } else if (exclusive) {
    return EEXIST;
  }
  out = {i->second, path, generation_};
  ++open_;
  return 0;
}

void simulated_disk::close(file_handle& handle) {
  if (handle.what && handle.generation == generation_)
    --open_;
  handle.what = nullptr;
}

int simulated_disk::read(const file_handle& handle, std::uint64_t offset,
                         char* bytes, std::size_t size, std::size_t& got) {
  if (handle.generation != generation_)
    return EIO;
  if (auto failed = begin(disk_operation::read, handle.path))
    return failed;
  auto& live = handle.what->live;
  got = offset < live.size() ? std::min<std::size_t>(size, live.size() - offset)
                             : 0;
  std::memcpy(bytes, live.data() + std::min<std::size_t>(offset, live.size()),
              got);
  return 0;
}

int simulated_disk::write(const file_handle& handle, std::uint64_t offset,
                          const char* bytes, std::size_t size) {
  if (handle.generation != generation_)
    return EIO;
  if (auto failed = begin(disk_operation::write, handle.path))
    return failed;
  auto grows = offset + size > handle.what->live.size()
                 ? offset + size - handle.what->live.size()
                 : 0;
  if (capacity && grows > 0 && used() + grows > *capacity)
    return ENOSPC;
  handle.what->add({offset, {bytes, size}, false});
  return 0;
}

int simulated_disk::truncate(const file_handle& handle, std::uint64_t size) {
  if (handle.generation != generation_)
    return EIO;
  if (auto failed = begin(disk_operation::truncate, handle.path))
    return failed;
  handle.what->add({size, {}, true});
  return 0;
}

int simulated_disk::sync(const file_handle& handle) {
  if (handle.generation != generation_)
    return EIO;
  if (auto failed = begin(disk_operation::sync, handle.path))
    return failed;
  ++syncs_;
  if (!drops_sync || !drops_sync(handle.path))
    handle.what->sync();
  return 0;
}

int simulated_disk::rename(const std::string& from, const std::string& to) {
  if (auto failed = begin(disk_operation::rename, to))
    return failed;
  auto i = live_.find(from);
  if (i == live_.end())
    return ENOENT;
  live_[to] = i->second;
  live_.erase(from);
  return 0;
}

int simulated_disk::remove(const std::string& path) {
  if (!live_.contains(path))
    return is_off ? EIO : ENOENT;
  if (auto failed = begin(disk_operation::remove, path))
    return failed;
  live_.erase(path);
  return 0;
}

int simulated_disk::make_folder(const std::string&) {
  return is_off ? EIO : 0;
}

int simulated_disk::sync_folder(const std::string& path) {
  if (auto failed = begin(disk_operation::sync_folder, path))
    return failed;
  ++syncs_;
  if (drops_sync && drops_sync(path))
    return 0;
  for (auto& [name, file] : live_)
    if (folder_of(name) == path)
      durable_[name] = file;
  std::erase_if(durable_, [&](auto& entry) {
    return folder_of(entry.first) == path && !live_.contains(entry.first);
  });
  return 0;
}

bool simulated_disk::exists(const std::string& path) const {
  return live_.contains(path);
}

bool simulated_disk::is_in_place(const file_handle& handle) const {
  auto i = live_.find(handle.path);
  return i != live_.end() && i->second == handle.what;
}

std::uint64_t simulated_disk::size_of(const file_handle& handle) const {
  return handle.what->live.size();
}

} // namespace muster::test
