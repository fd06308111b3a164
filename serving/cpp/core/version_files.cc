#include "core/version_files.h"

#include <openssl/evp.h>
#include <simdjson.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <thread>
#include <utility>

#include "core/names.h"
#include "loopwright/serving/error.h"

namespace loopwright::serving {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSums = "SHA256SUMS";
constexpr const char* kOnnx = "model.onnx";
constexpr const char* kDefaultRuntime = "loopwright";
constexpr time_t kSettledSecs = 2;
constexpr size_t kMostEntries = 10'000;  // of a version's folder: a link may lead to a large one

Error incomplete(const std::string& what) { return Error(ErrorKind::kUnavailable, what); }

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) { EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr); }
  void add(const char* data, size_t bytes) { EVP_DigestUpdate(context_.get(), data, bytes); }
  std::string digest() {
    std::array<unsigned char, 32> bytes{};
    EVP_DigestFinal_ex(context_.get(), bytes.data(), nullptr);
    std::string text;
    for (const unsigned char byte : bytes) {
      text += "0123456789abcdef"[byte >> 4];
      text += "0123456789abcdef"[byte & 15];
    }
    return text;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
};

// A path below the folder, without "..".
void check_relative(const std::string& path) {
  const fs::path parts(path);
  const bool inside = !path.empty() && parts.is_relative() &&
                      std::none_of(parts.begin(), parts.end(), [](const fs::path& part) { return part == ".."; });
  if (!inside) throw incomplete(std::string(kSums) + " names '" + path + "', which is not below the folder");
}

void check_digest(const fs::path& folder, const std::string& name, std::string_view digest) {
  std::error_code none;
  if (!fs::is_regular_file(folder / name, none)) throw incomplete(name + " is missing");
  if (sha256_of_file(folder / name) != digest)
    throw incomplete(name + " differs from its digest; it may not be whole yet");
}

void check_sums(const fs::path& folder) {
  std::ifstream file(folder / kSums);
  std::set<std::string> names;
  std::string line;
  while (std::getline(file, line)) {
    if (line.size() < 67 || line[64] != ' ')
      throw incomplete(std::string(kSums) + " has a line without a digest and a name");
    const std::string name = line.substr(66);
    check_relative(name);
    check_digest(folder, name, std::string_view(line).substr(0, 64));
    names.insert(name);
  }
  // A list that is cut off must not pass.
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (name != kSums && entry.is_regular_file() && !names.count(name))
      throw incomplete(std::string(kSums) + " does not have " + name + "; it may not be whole yet");
  }
}

// Checks the digests that the manifest of a saved model has. Returns whether it has them.
bool check_saved_model(const fs::path& folder) {
  simdjson::dom::parser parser;
  simdjson::dom::object digests;
  simdjson::padded_string text;
  if (simdjson::padded_string::load((folder / "manifest.json").string()).get(text))
    throw incomplete("model.lw/manifest.json is missing");
  simdjson::dom::element manifest;
  if (parser.parse(text).get(manifest))
    throw incomplete("model.lw/manifest.json is not valid JSON; it may not be whole yet");
  if (manifest["digests"].get(digests)) return false;
  for (const auto& [name, digest] : digests) {
    std::string_view value;
    if (digest.get(value) || name.find('/') != std::string_view::npos || name == "..")
      throw incomplete("model.lw/manifest.json has digests that are not valid");
    check_digest(folder, std::string(name), value);
  }
  return true;
}

// Calls `visit` with the path and the status of each entry below a folder, also through links to folders, to one above the limit.
template <class Visit>
void for_each_entry(const fs::path& folder, const Visit& visit) {
  std::set<std::pair<dev_t, ino_t>> folders;
  size_t count = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator place(folder, fs::directory_options::follow_directory_symlink, error), end;
       !error && place != end && count++ <= kMostEntries; place.increment(error)) {
    struct stat status{};
    if (stat(place->path().c_str(), &status) != 0) continue;
    // A link to a folder above would lead around for ever.
    if (S_ISDIR(status.st_mode) && !folders.emplace(status.st_dev, status.st_ino).second)
      place.disable_recursion_pending();
    visit(place->path(), status);
  }
}

std::string line_of(const fs::path& path, const struct stat& status) {
  return path.string() + ' ' + std::to_string(status.st_size) + ' ' + std::to_string(status.st_mtim.tv_sec) + '.' +
         std::to_string(status.st_mtim.tv_nsec) + ' ' + std::to_string(status.st_ino) + '\n';
}

// Throws if a folder has too many entries, or one that is neither a file nor a folder: to open a FIFO would wait.
void check_entries(const fs::path& folder) {
  size_t count = 0;
  for_each_entry(folder, [&](const fs::path& path, const struct stat& status) {
    if (++count > kMostEntries)
      throw incomplete("the folder has more than " + std::to_string(kMostEntries) + " entries, those behind links too");
    if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))
      throw incomplete(path.lexically_relative(folder).string() + " is neither a file nor a folder");
  });
}

time_t newest_change(const fs::path& folder) {
  time_t newest = 0;
  for_each_entry(folder, [&newest](const fs::path&, const struct stat& status) {
    newest = std::max(newest, status.st_ctim.tv_sec);
  });
  return newest;
}

// Waits until no file has changed for two seconds. Throws if one changes during that time.
void wait_until_settled(const std::string& folder) {
  const time_t age = time(nullptr) - newest_change(folder);
  if (age >= kSettledSecs) return;
  const std::string before = fingerprint(folder);
  std::this_thread::sleep_for(std::chrono::seconds(kSettledSecs - std::max<time_t>(age, 0)));
  if (fingerprint(folder) != before) throw incomplete("its files are changing; they may not be whole yet");
}

}  // namespace

VersionFolders versions_in(const std::string& folder) {
  VersionFolders result;
  std::error_code error;
  for (fs::directory_iterator place(folder, error), end; !error && place != end; place.increment(error)) {
    const std::string name = place->path().filename();
    std::error_code none;  // such as that of a link that leads nowhere
    if (name.front() == '.' || !place->is_directory(is_number(name) ? error : none)) continue;
    try {
      result.versions.push_back(parse_version(name));
    } catch (const Error& wrong) {
      result.ignored.insert(wrong.what());
    }
  }
  if (error) throw Error(ErrorKind::kUnavailable, "cannot read " + folder + ": " + error.message());
  std::sort(result.versions.begin(), result.versions.end());
  return result;
}

std::string fingerprint(const std::string& folder) {
  std::vector<std::string> lines;
  for_each_entry(folder, [&lines](const fs::path& path, const struct stat& status) {
    if (S_ISREG(status.st_mode)) lines.push_back(line_of(path, status));
  });
  std::sort(lines.begin(), lines.end());
  std::string all;
  for (const std::string& line : lines) all += line;
  return all;
}

std::string fingerprint_of_file(const std::string& path) {
  struct stat status{};
  return stat(path.c_str(), &status) == 0 ? line_of(path, status) : path + " is missing\n";
}

VersionFiles find_files(const std::string& folder, const std::string& wanted) {
  const auto has = [&folder](const char* file) {
    std::error_code none;
    return fs::exists(fs::path(folder) / file, none);
  };
  std::string possible;
  for (const Runtime& runtime : runtimes()) {
    const bool is_default = std::string_view(runtime.name) == kDefaultRuntime;
    if (wanted.empty() ? runtime.is_code : runtime.name != find_runtime(wanted).name) continue;
    for (const char* file : runtime.files) {
      if (has(file)) return {&runtime, (fs::path(folder) / file).string(), false};
      if (possible.find(file) == std::string::npos) possible += (possible.empty() ? "" : ", ") + std::string(file);
    }
    if (is_default && has(kOnnx)) return {&runtime, (fs::path(folder) / kOnnx).string(), true};
  }
  for (const Runtime& runtime : runtimes())
    if (wanted.empty() && runtime.is_code && has(runtime.files.front()))
      throw Error(ErrorKind::kFailedPrecondition, std::string(runtime.files.front()) +
                                                      " is code, which is only run if config.toml has runtime = \"" +
                                                      runtime.name + '"');
  const std::string who = wanted.empty() ? "can be served" : wanted + " serves";
  throw Error(ErrorKind::kNotFound, "the folder has none of the files that " + who + ": " + possible +
                                        (wanted == kDefaultRuntime ? std::string(", ") + kOnnx : ""));
}

void check_complete(const std::string& folder, bool is_known) {
  const fs::path path(folder);
  check_entries(path);
  std::error_code none;
  const bool has_sums = fs::exists(path / kSums, none);
  if (has_sums) check_sums(path);
  const bool has_digests = fs::exists(path / "model.lw", none) && check_saved_model(path / "model.lw");
  if (!has_sums && !has_digests && !is_known) wait_until_settled(folder);
}

std::string sha256_of_file(const std::string& path) {
  std::error_code none;
  if (!fs::is_regular_file(path, none)) throw Error(ErrorKind::kNotFound, path + " is missing, or not a file");
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(ErrorKind::kNotFound, "cannot read " + path);
  Sha256 hash;
  std::vector<char> chunk(1 << 20);
  while (file) {
    file.read(chunk.data(), static_cast<std::streamsize>(chunk.size()));
    hash.add(chunk.data(), static_cast<size_t>(file.gcount()));
  }
  return hash.digest();
}

std::string sha256_of(const std::string& bytes) {
  Sha256 hash;
  hash.add(bytes.data(), bytes.size());
  return hash.digest();
}

}  // namespace loopwright::serving
