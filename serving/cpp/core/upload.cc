#include "core/upload.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "core/names.h"
#include "core/version_files.h"
#include "loopwright/serving/error.h"

namespace loopwright::serving {
namespace {

namespace fs = std::filesystem;

constexpr int kMostFolders = 8;

// Each part of a path follows the grammar of names, so no path is absolute or has "..".
void check_path(const std::string& path) {
  int parts = 0;
  size_t start = 0;
  while (start <= path.size()) {
    const size_t end = std::min(path.find('/', start), path.size());
    check_name(std::string_view(path).substr(start, end - start), "part of the file's path");
    if (++parts > kMostFolders) throw Error(ErrorKind::kInvalidArgument, "the path of a file has more than 8 parts");
    start = end + 1;
  }
}

struct Size {
  uint64_t bytes = 0;
  size_t files = 0;
};

Size size_of(const fs::path& folder, const fs::path& but) {
  Size size;
  std::error_code error;
  for (fs::recursive_directory_iterator place(folder, error), end; !error && place != end; place.increment(error)) {
    if (!place->is_regular_file() || place->path() == but) continue;
    size.bytes += place->file_size();
    ++size.files;
  }
  return size;
}

void sync_file(const fs::path& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  fsync(file);
  close(file);
}

}  // namespace

std::string Uploads::staging(const std::string& model, int64_t version) const {
  check_name(model, "model name");
  return fs::path(repository_) / ".staging" / model / std::to_string(version);
}

void Uploads::check_is_new(const std::string& model, int64_t version) const {
  if (fs::exists(fs::path(repository_) / model / std::to_string(version)))
    throw Error(ErrorKind::kAlreadyExists, "version " + std::to_string(version) + " of '" + model +
                                               "' exists, and a version is immutable; upload a new one");
}

void Uploads::append(const std::string& model, int64_t version, const std::string& path, uint64_t offset,
                     std::string_view bytes) const {
  const fs::path folder = staging(model, version);
  check_path(path);
  const std::lock_guard lock(mutex_);
  check_is_new(model, version);
  const fs::path file = folder / path;
  std::error_code none;
  const uint64_t length = fs::is_regular_file(file, none) ? fs::file_size(file, none) : 0;
  if (offset != 0 && offset != length)
    throw Error(ErrorKind::kFailedPrecondition, path + " has " + std::to_string(length) + " bytes, so the offset " +
                                                    std::to_string(offset) + " is wrong");
  const Size others = size_of(folder, file);
  if (others.files + 1 > limits_.files || others.bytes + offset + bytes.size() > limits_.bytes)
    throw Error(ErrorKind::kResourceExhausted, "a version has at most " + std::to_string(limits_.files) +
                                                   " files and " + std::to_string(limits_.bytes >> 20) + " MiB");
  fs::create_directories(file.parent_path());
  std::ofstream out(file, std::ios::binary | (offset == 0 ? std::ios::trunc : std::ios::app));
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!out.flush()) throw Error(ErrorKind::kInternal, "cannot write " + path + ": " + std::strerror(errno));
}

void Uploads::commit(const std::string& model, int64_t version,
                     const std::map<std::string, std::string>& digests) const {
  const fs::path folder = staging(model, version);
  const std::lock_guard lock(mutex_);
  check_is_new(model, version);
  if (digests.empty()) throw Error(ErrorKind::kInvalidArgument, "a version needs at least one file");
  std::set<std::string> present;
  std::error_code error;
  for (fs::recursive_directory_iterator place(folder, error), end; !error && place != end; place.increment(error))
    if (place->is_regular_file()) present.insert(fs::relative(place->path(), folder));
  std::string sums;
  for (const auto& [path, digest] : digests) {
    check_path(path);
    if (!present.erase(path)) throw Error(ErrorKind::kFailedPrecondition, path + " was not uploaded");
    if (sha256_of_file(folder / path) != digest)
      throw Error(ErrorKind::kFailedPrecondition, path + " differs from its digest; upload it again");
    sums += digest + "  " + path + '\n';
    sync_file(folder / path);
  }
  present.erase("SHA256SUMS");  // of an earlier attempt
  if (!present.empty())
    throw Error(ErrorKind::kFailedPrecondition, *present.begin() + " was uploaded, but has no digest");
  {
    std::ofstream file(folder / "SHA256SUMS", std::ios::trunc);
    file << sums;
    if (!file.flush()) throw Error(ErrorKind::kInternal, "cannot write SHA256SUMS");
  }
  sync_file(folder / "SHA256SUMS");
  sync_file(folder);
  const fs::path parent = fs::path(repository_) / model;
  fs::create_directories(parent);
  fs::rename(folder, parent / std::to_string(version), error);
  if (error) {
    check_is_new(model, version);
    throw Error(ErrorKind::kInternal, "cannot make the version: " + error.message());
  }
}

void Uploads::discard(const std::string& model, int64_t version) const {
  const fs::path folder = staging(model, version);
  const std::lock_guard lock(mutex_);
  std::error_code none;
  fs::remove_all(folder, none);
}

}  // namespace loopwright::serving
