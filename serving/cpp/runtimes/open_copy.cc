#include "runtimes/open_copy.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "core/owned_file.h"
#include "core/version_files.h"

namespace loopwright::serving {
namespace {

namespace fs = std::filesystem;

std::runtime_error of_system(const std::string& what) { return std::runtime_error(what + ": " + std::strerror(errno)); }

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string content{std::istreambuf_iterator<char>(file), {}};
  if (!file) throw std::runtime_error("cannot read " + path);
  return content;
}

OwnedFile in_memory(std::string_view content) {
  OwnedFile file(memfd_create("library", MFD_CLOEXEC));
  if (file.get() < 0) throw of_system("cannot copy the library");
  while (!content.empty()) {
    const ssize_t count = write(file.get(), content.data(), content.size());
    if (count < 0) throw of_system("cannot copy the library");
    content.remove_prefix(static_cast<size_t>(count));
  }
  return file;
}

// A new folder, which is removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() : path_(fs::temp_directory_path() / "loopwright-XXXXXX") {
    if (!mkdtemp(path_.data())) throw of_system("cannot make a folder " + path_);
  }
  ~TemporaryFolder() {
    std::error_code none;
    fs::remove_all(path_, none);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// The copy is in a folder of links to the files next to the library, where it finds others that it needs by $ORIGIN.
void* load(const fs::path& library, std::string_view content) {
  const OwnedFile copy = in_memory(content);
  const TemporaryFolder folder;
  const fs::path name = library.filename();
  for (const auto& entry : fs::directory_iterator(library.parent_path()))
    if (entry.path().filename() != name) fs::create_symlink(entry.path(), folder.path() / entry.path().filename());
  fs::create_symlink("/proc/self/fd/" + std::to_string(copy.get()), folder.path() / name);
  void* loaded = dlopen((folder.path() / name).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (loaded) return loaded;
  std::string reason = dlerror();
  const size_t place = reason.find(folder.path());
  if (place != std::string::npos) reason.replace(place, folder.path().size(), library.parent_path());
  throw std::runtime_error(reason);
}

}  // namespace

// dlopen returns what it has loaded from a path, even if the path has another file by then; and code that is overwritten while it is
// mapped would crash the server.
void* open_copy(const std::string& path) {
  static std::mutex mutex;
  static std::map<std::pair<std::string, std::string>, void*> loaded;  // by path and digest
  const std::string content = content_of(path);
  const std::lock_guard lock(mutex);
  void*& library = loaded[{path, sha256_of(content)}];
  if (!library) library = load(fs::absolute(path), content);
  return library;
}

}  // namespace loopwright::serving
