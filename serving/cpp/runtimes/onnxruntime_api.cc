#include "runtimes/onnxruntime_api.h"

#include <dlfcn.h>

#include <mutex>
#include <stdexcept>

#include "loopwright/serving/error.h"

namespace loopwright::serving::ort {
namespace {

// OrtApiBase: its functions return OrtApi of a version and the library's version text.
struct ApiBase {
  const void* (*api)(uint32_t version);
  const char* (*version)();
};
constexpr uint32_t kVersion = 1;  // the first, whose functions all releases have

template <class F>
void take(F& function, const void* const* table, size_t place) {
  function = reinterpret_cast<F>(const_cast<void*>(table[place]));
}

Api functions(const void* const* table) {
  Api api{};
  take(api.error_message, table, 2);
  take(api.create_env, table, 3);
  take(api.create_session, table, 7);
  take(api.run, table, 9);
  take(api.create_session_options, table, 10);
  take(api.set_intra_op_threads, table, 24);
  take(api.register_operators, table, 29);
  take(api.input_count, table, 30);
  take(api.output_count, table, 31);
  take(api.input_type, table, 33);
  take(api.output_type, table, 34);
  take(api.input_name, table, 36);
  take(api.output_name, table, 37);
  take(api.create_tensor, table, 48);
  take(api.wrap_tensor, table, 49);
  take(api.tensor_data, table, 51);
  take(api.fill_strings, table, 52);
  take(api.strings_bytes, table, 53);
  take(api.strings, table, 54);
  take(api.tensor_info, table, 55);
  take(api.element_type, table, 60);
  take(api.rank, table, 61);
  take(api.shape, table, 62);
  take(api.value_info, table, 65);
  take(api.cpu_memory, table, 69);
  take(api.free, table, 76);
  take(api.default_allocator, table, 78);
  take(api.release_status, table, 93);
  take(api.release_session, table, 95);
  take(api.release_value, table, 96);
  take(api.release_type_info, table, 98);
  take(api.release_tensor_info, table, 99);
  take(api.release_session_options, table, 100);
  return api;
}

}  // namespace

const Api& api(const std::string& path) {
  static std::mutex mutex;
  static const Api* loaded = nullptr;
  const std::lock_guard lock(mutex);
  if (loaded) return *loaded;
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  const auto get = library ? reinterpret_cast<const ApiBase* (*)()>(dlsym(library, "OrtGetApiBase")) : nullptr;
  if (!get)
    throw Error(ErrorKind::kUnavailable,
                "ONNX Runtime cannot be loaded from " + path +
                    "; install it (pip install onnxruntime), or give its library with --onnxruntime");
  static const Api made = functions(static_cast<const void* const*>(get()->api(kVersion)));
  loaded = &made;
  return made;
}

void check(const Api& api, Status* status) {
  if (!status) return;
  const std::string message = api.error_message(status);
  api.release_status(status);
  throw std::runtime_error(message);
}

}  // namespace loopwright::serving::ort
