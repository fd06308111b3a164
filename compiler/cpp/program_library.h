// Loads the machine code of a saved model.
#pragma once

#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/string.h>

namespace loopwright {

// Returns the module of a shared library of TVM. The dynamic linker identifies a library by its path, and returns the one in
// memory if another model has replaced its file. So it is loaded through a link with a new name. Throws tvm::ffi::Error
// if the library cannot be loaded.
tvm::ffi::Module load_library(const tvm::ffi::String& path);

}  // namespace loopwright
