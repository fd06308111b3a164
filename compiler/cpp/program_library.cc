#include "program_library.h"

#include <tvm/ffi/error.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

namespace loopwright {
namespace {

namespace fs = std::filesystem;

// A folder that is deleted at the end.
struct TemporaryFolder {
  std::string path = (fs::temp_directory_path() / "loopwright-XXXXXX").string();

  TemporaryFolder() {
    if (!mkdtemp(path.data()))
      throw std::system_error(errno, std::generic_category(), "cannot create a temporary folder");
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

}  // namespace

tvm::ffi::Module load_library(const tvm::ffi::String& path) {
  try {
    const TemporaryFolder folder;
    const fs::path link = fs::path(folder.path) / "program.so";
    fs::create_symlink(fs::absolute(std::string(path)), link);
    return tvm::ffi::Module::LoadFromFile(link.string());
  } catch (const std::system_error& error) {
    TVM_FFI_THROW(RuntimeError) << error.what();
    throw;
  }
}

}  // namespace loopwright
