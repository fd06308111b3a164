// The files of a version's folder: whether they are complete, and whether they changed.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "loopwright/serving/runtime.h"

namespace loopwright::serving {

// The folders of a model's folder.
struct VersionFolders {
  std::vector<int64_t> versions;  // in order
  std::set<std::string> ignored;  // what is wrong with the names of others that are not hidden
};

// Throws Error (kUnavailable) if the folder cannot be read.
VersionFolders versions_in(const std::string& folder);

// What identifies the content of a folder without reading it: names, sizes and times of the files below, of the first 10,001 entries.
// Empty if there is no such folder.
std::string fingerprint(const std::string& folder);
// Returns the same for one file, which may be missing.
std::string fingerprint_of_file(const std::string& path);

struct VersionFiles {
  const Runtime* runtime;
  std::string path;      // what the runtime loads
  bool compile = false;  // an ONNX model that must be compiled first
};

// Finds what a version's folder has for a runtime (its name, or empty: the first in the order of runtimes() that has a file, but for
// code). Throws Error (kNotFound) with the files that are possible.
VersionFiles find_files(const std::string& folder, const std::string& runtime);

// Throws Error (kUnavailable) that names the first file that is missing or differs from its digest: those of the folder's
// SHA256SUMS (as `sha256sum` writes it) and of the manifests of saved models. A folder without digests is complete if none of its
// files changes for two seconds, for which it waits, or if the caller says so. A folder with more than 10,000 entries, or one that is
// neither a file nor a folder, is an error, too.
void check_complete(const std::string& folder, bool is_known = false);

// Returns the SHA-256 digest of a file as 64 hexadecimal digits. Throws Error (kNotFound) if it cannot be read.
std::string sha256_of_file(const std::string& path);
std::string sha256_of(const std::string& bytes);

}  // namespace loopwright::serving
