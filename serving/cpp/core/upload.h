// Uploads of versions: files in a staging folder, which becomes a version as a whole.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace loopwright::serving {

struct UploadLimits {
  uint64_t bytes = uint64_t{8} << 30;  // of all files of a version
  size_t files = 1000;
};

// The staging area of a repository, REPOSITORY/.staging. Thread-safe: a version becomes one between two changes of its files.
class Uploads {
 public:
  Uploads(std::string repository, UploadLimits limits) : repository_(std::move(repository)), limits_(limits) {}

  // Appends bytes to a file of a version that is being uploaded. `offset` is the length that the file has; 0 begins the file
  // again. Throws Error: a name that leaves the folder, a limit, a version that exists, another offset.
  void append(const std::string& model, int64_t version, const std::string& path, uint64_t offset,
              std::string_view bytes) const;
  // Makes the files a version of the model, if they are those of `digests` (SHA-256 by path) and no others. The digests are kept as
  // SHA256SUMS. Throws Error, and the files stay.
  void commit(const std::string& model, int64_t version, const std::map<std::string, std::string>& digests) const;
  // Removes what was uploaded.
  void discard(const std::string& model, int64_t version) const;

 private:
  std::string staging(const std::string& model, int64_t version) const;
  void check_is_new(const std::string& model, int64_t version) const;

  const std::string repository_;
  const UploadLimits limits_;
  mutable std::mutex mutex_;
};

}  // namespace loopwright::serving
